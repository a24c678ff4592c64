"""When a growing reply is shown again: pauses of one reply, a budget of all replies."""

from __future__ import annotations

from dataclasses import dataclass, field

from crocbot.model import Clock

MAX_EDITS_PER_SECOND = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EditSchedule:
    """
    Pauses before edits, in seconds.

    `first` is before the first text, `second` at least after it; each further one is
    `growth` times as long as the one before, up to `longest`.
    """

    first: float
    second: float
    growth: float
    longest: float

    def after(self, pause: float) -> float:
        """Return the pause that follows a pause."""
        return min(self.longest, max(self.second, pause * self.growth))


@dataclass(slots=True)
class TokenBucket:
    """The edits that all chats together may make; one second's worth can be saved."""

    clock: Clock
    per_second: float = MAX_EDITS_PER_SECOND
    _tokens: float = field(init=False)
    _filled_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._tokens = self.per_second

    def take(self) -> bool:
        """Take one token and return True, or return False if there is none."""
        now = self.clock()
        earned = (now - self._filled_at) * self.per_second
        self._tokens = min(self.per_second, self._tokens + earned)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
