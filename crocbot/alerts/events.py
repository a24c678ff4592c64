"""
What alerts need of the events that stages emit: counts within a time, latest values.

    stage -- emit(event) --> AlertEvents --> telemetry's observer
                                 '-- only counted, so no stage waits for an alert

Those of other replicas are added to the counts, see reports.py.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from crocbot.errors import AgentError
from crocbot.events import (
    AgentCall,
    ApiCall,
    CallOutcome,
    DiskSpace,
    Event,
    EventListener,
    InboxState,
    PollFailed,
)
from crocbot.model import Clock, ErrorEvent, ErrorType, Outcome, ReconnectReason

MAX_TIMES = 10_000


@dataclass(slots=True)
class Times:
    """
    When something happened, the latest MAX_TIMES times.

    `total` is how often it happened in this process.
    """

    clock: Clock
    total: int = field(default=0, init=False)
    _at: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_TIMES))

    def add(self) -> None:
        """Add the present time."""
        self.total += 1
        self._at.append(self.clock())

    def add_others(self, count: int) -> None:
        """Add the present time for each event of another replica."""
        self._at.extend([self.clock()] * min(count, MAX_TIMES))

    def count(self, seconds: float) -> int:
        """Return how often it happened within the last seconds; forget the others."""
        limit = self.clock() - seconds
        while self._at and self._at[0] < limit:
            self._at.popleft()
        return len(self._at)

    def clear(self) -> None:
        """Forget all times."""
        self._at.clear()

    @property
    def age(self) -> float | None:
        """Return how long ago it happened last, None if it did not."""
        return self.clock() - self._at[-1] if self._at else None


class AlertEvents:
    """
    An EventListener that passes every event on; `clock` is monotonic.

    `other_disks` has the space of the disks of other replicas, by their names.
    """

    def __init__(self, events: EventListener, clock: Clock = time.monotonic) -> None:
        self._events = events
        self._clock = clock
        self.conflicts = Times(clock)
        self.inbox_errors = Times(clock)
        self.prompts = Times(clock)
        self.agent_errors = Times(clock)
        self.operator_errors = Times(clock)
        self.token_refused = False
        self.disk: DiskSpace | None = None
        self.other_disks: Mapping[str, DiskSpace] = {}
        self._oldest_accepted_at: float | None = None
        self._record: Mapping[type[Event], Callable[[Any], None]] = {
            Outcome: self._record_outcome,
            ErrorEvent: self._record_error,
            ApiCall: self._record_api_call,
            PollFailed: self._record_failed_poll,
            AgentCall: self._record_agent_call,
            InboxState: self._record_inbox_state,
            DiskSpace: self._record_disk,
        }

    @property
    def oldest_age(self) -> float:
        """Return the age of the oldest open row; 0 without one."""
        oldest = self._oldest_accepted_at
        return 0.0 if oldest is None else self._clock() - oldest

    def emit(self, event: Event) -> None:
        """Pass an event on, and count it."""
        self._events.emit(event)
        record = self._record.get(type(event))
        if record is not None:
            record(event)

    def _record_outcome(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            self._record_error(outcome.error)

    def _record_error(self, error: ErrorEvent) -> None:
        if error.type is ErrorType.INBOX:
            self.inbox_errors.add()

    def _record_api_call(self, call: ApiCall) -> None:
        if call.outcome is CallOutcome.UNAUTHORIZED:
            self.token_refused = True

    def _record_failed_poll(self, failed: PollFailed) -> None:
        if failed.reason is ReconnectReason.CONFLICT:
            self.conflicts.add()

    def _record_agent_call(self, call: AgentCall) -> None:
        self.prompts.add()
        if call.error is not None:
            self.agent_errors.add()
            if call.error in AgentError.for_operator:
                self.operator_errors.add()

    def _record_inbox_state(self, state: InboxState) -> None:
        self._oldest_accepted_at = state.oldest_accepted_at

    def _record_disk(self, disk: DiskSpace) -> None:
        self.disk = disk
