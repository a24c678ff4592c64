"""
The conditions of all alerts, looked at once a second.

While an alert fires, its condition is easier to meet (less space must be missing, one
more event is enough), so that it does not end and begin again at a threshold.  When it
is over, its events are forgotten: they would let it fire again until they are
WINDOW_SECONDS old.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from crocbot.alerts.events import AlertEvents, Times
from crocbot.alerts.table import AlertName
from crocbot.events import DiskSpace
from crocbot.text import time_span

WINDOW_SECONDS = 600.0
MAX_EVENTS = 2
MAX_FAILED_RATIO = 0.2
MAX_WAIT_SECONDS = 600.0
MAX_RESTARTS = 2
MIN_FREE_RATIO = 0.1
MIN_FREE_BYTES = 1 << 30
# While the alert fires, more must be free.
FREE_FACTOR = 1.2
# An event within this time is new: longer than the interval of the conditions.
NEW_SECONDS = 3.0


class GatewayState(Protocol):
    """What is known of the gateway besides its events; the service has one."""

    def telegram_error(self) -> str | None:
        """Return why Telegram gives no updates, None if it does."""

    def inbox_error(self) -> str | None:
        """Return why updates cannot be stored, None if they can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """
    What is counted in the database: kept replies, and starts in 15 minutes.

    Of several replicas the starts are those of the machine with most restarts.
    """

    kept_replies: int = 0
    starts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Looks at the events and the state of one gateway."""

    events: AlertEvents
    state: GatewayState
    _fired: set[AlertName] = field(default_factory=set, init=False)

    def check(
        self, counts: Counts, firing: Collection[AlertName]
    ) -> Mapping[AlertName, str | None]:
        """Return the value of each condition that holds, None for the others."""
        self.forget_ended(firing)
        events = self.events
        conflicts = _many(events.conflicts, AlertName.SECOND_POLLER in firing)
        inbox = self.state.inbox_error() is not None or _is_new(events.inbox_errors)
        age, restarts = events.oldest_age, counts.starts - 1
        kept = counts.kept_replies
        return {
            AlertName.DEAF: "" if self.state.telegram_error() else None,
            AlertName.SECOND_POLLER: "" if conflicts else None,
            AlertName.TOKEN_REFUSED: "" if events.token_refused else None,
            AlertName.INBOX_FAILS: "" if inbox else None,
            AlertName.BACKLOG_OLD: time_span(age) if age > MAX_WAIT_SECONDS else None,
            AlertName.UNDELIVERED: str(kept) if kept else None,
            AlertName.AGENT_ERRORS: self._failed(AlertName.AGENT_ERRORS in firing),
            AlertName.AGENT_MISCONFIGURED: (
                "" if _is_new(events.operator_errors) else None
            ),
            AlertName.DISK_NEARLY_FULL: self._little_space(
                AlertName.DISK_NEARLY_FULL in firing
            ),
            AlertName.RESTARTS: (
                str(counts.starts) if restarts > MAX_RESTARTS else None
            ),
        }

    def forget_ended(self, firing: Collection[AlertName]) -> None:
        """Forget the events of alerts that fired and are over."""
        ended = self._fired.difference(firing)
        if AlertName.SECOND_POLLER in ended:
            self.events.conflicts.clear()
        if AlertName.AGENT_ERRORS in ended:
            self.events.agent_errors.clear()
            self.events.prompts.clear()
        self._fired.clear()
        self._fired.update(firing)

    def _little_space(self, is_firing: bool) -> str | None:
        """Return the space of a disk that has too little, and of which replica."""
        if space := _space(self.events.disk, is_firing):
            return space
        for name, disk in self.events.other_disks.items():
            if space := _space(disk, is_firing):
                return f"{space} on {name}"
        return None

    def _failed(self, is_firing: bool) -> str | None:
        """Return the share of prompts that fail, if it is too large."""
        errors = self.events.agent_errors
        prompts = max(1, self.events.prompts.count(WINDOW_SECONDS))
        ratio = errors.count(WINDOW_SECONDS) / prompts
        if ratio > MAX_FAILED_RATIO and _many(errors, is_firing):
            return f"{ratio:.0%}"
        return None


def _many(times: Times, is_firing: bool) -> bool:
    return _is_new(times) if is_firing else times.count(WINDOW_SECONDS) > MAX_EVENTS


def _is_new(times: Times) -> bool:
    age = times.age
    return age is not None and age < NEW_SECONDS


def _space(disk: DiskSpace | None, is_firing: bool) -> str | None:
    """Return the space that is left, if it is too little."""
    if disk is None:
        return None
    factor = FREE_FACTOR if is_firing else 1.0
    is_little = disk.free < factor * MIN_FREE_BYTES
    if is_little and disk.free < factor * MIN_FREE_RATIO * disk.size:
        return f"{disk.free >> 20} MiB of {disk.size >> 20} MiB"
    return None
