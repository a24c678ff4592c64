"""
When an alert fires and ends, and what each way still has to tell the operator.

    condition   ....#############...........###....
    fires           [after]------------[clear]          AlertState
    messages               |firing  |repeated  |over    Notices, for each way

A message that cannot be sent is not queued: when its way works again, the operator gets
one message about each alert, as it is then.  Times are those of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from crocbot.alerts.table import AlertName


class NoticeKind(StrEnum):
    """What a message says about an alert."""

    FIRING = "firing"
    REPEATED = "repeated"
    OVER = "over"


@dataclass(slots=True, kw_only=True)
class AlertState:
    """One alert; `since` is when its condition began to hold, None if it does not."""

    after_seconds: float
    clear_seconds: float
    is_firing: bool = False
    since: float | None = None
    value: str = ""
    held_at: float = 0.0

    def update(self, now: float, value: str | None) -> None:
        """Take the value of the condition now, None if it does not hold."""
        if value is not None:
            self.held_at, self.value = now, value
            if self.since is None:
                self.since = now
            self.is_firing |= now - self.since >= self.after_seconds
        elif not self.is_firing or now - self.held_at >= self.clear_seconds:
            self.is_firing, self.since = False, None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """
    A message about an alert that fires or fired since a time.

    `quiet_seconds` is how long its condition has not held when it is over.
    """

    name: AlertName
    kind: NoticeKind
    value: str = ""
    since: float
    now: float
    quiet_seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class Told:
    """What one way has told about an alert: `at` is the last time, None if never."""

    since: float
    at: float | None = None
    ended: float | None = None


def firing_since(
    all_told: Iterable[Mapping[AlertName, Told]],
) -> dict[AlertName, float]:
    """Return the alerts that fire by what ways have told, and since when."""
    return {
        name: each.since
        for told in all_told
        for name, each in told.items()
        if each.ended is None
    }


@dataclass(slots=True, kw_only=True)
class Notices:
    """
    What one way has told, and has to tell; repeated after `repeat_seconds`.

    `clear_seconds` is how long no condition holds before its alert is over.
    """

    repeat_seconds: float
    clear_seconds: float = 0.0
    told: dict[AlertName, Told] = field(default_factory=dict)
    _values: dict[AlertName, str] = field(default_factory=dict, init=False)

    def update(self, name: AlertName, state: AlertState, now: float) -> bool:
        """Follow the state of an alert; return whether something has changed."""
        told = self.told.get(name)
        if state.is_firing:
            self._values[name] = state.value
            if told is None:
                since = now if state.since is None else state.since
                self.told[name] = Told(since=since)
                return True
            # It began again before its end was told.
            changed, told.ended = told.ended is not None, None
            return changed
        if told is not None and told.ended is None:
            told.ended = now
            return True
        return False

    def due(self, now: float) -> Iterable[Notice]:
        """Return the messages that have to be sent now."""
        for name, told in list(self.told.items()):
            kind = self._kind(told, now)
            if kind is not None:
                yield Notice(
                    name=name,
                    kind=kind,
                    value=self._values.get(name, ""),
                    since=told.since,
                    now=now if told.ended is None else told.ended,
                    quiet_seconds=self.clear_seconds,
                )

    def sent(self, notice: Notice) -> None:
        """Note that a message was sent."""
        told = self.told.get(notice.name)
        if told is None:
            return
        if notice.kind is not NoticeKind.OVER:
            told.at = notice.now
        elif told.ended is not None:
            del self.told[notice.name]

    def _kind(self, told: Told, now: float) -> NoticeKind | None:
        if told.ended is not None:
            return NoticeKind.OVER
        if told.at is None:
            return NoticeKind.FIRING
        if now - told.at >= self.repeat_seconds:
            return NoticeKind.REPEATED
        return None
