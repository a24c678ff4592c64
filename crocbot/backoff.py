"""
When to try again: pauses that grow, and the flood waits that Telegram sets (HTTP 429).

    Backoff(first=1, factor=2, longest=30):  1  2  4  8  16  30  30 ...  each +-20 %

    429 for chat 7, 30 s                --> no calls for chat 7 for 30 s
    429 for 3 chats within 5 s, 30 s    --> no calls for any chat for 30 s

Jitter keeps programs that failed together from retrying together.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

from crocbot.errors import FloodWaitError
from crocbot.model import Clock, RandomFloat

JITTER = 0.2
# One chat rarely hits its limit; several at the same time are the limit of the bot.
GLOBAL_CHATS_THRESHOLD = 3
GLOBAL_WINDOW_SECONDS = 5.0
MAX_CHATS = 10_000


@dataclass(slots=True, kw_only=True)
class Backoff:
    """
    The pauses of one operation that is retried.  All times are seconds.

    `first` is the first pause; each one is `factor` times the one before it, up to
    `longest`.  `random` returns a float in [0, 1).
    """

    first: float = 1.0
    factor: float = 1.5
    longest: float = 30.0
    random: RandomFloat = random.random
    failures: int = field(default=0, init=False)
    _pause: float = field(default=0.0, init=False)

    def next_pause(self) -> float:
        """Count a failure and return how long to wait before the next try."""
        self.failures += 1
        grown = self._pause * self.factor if self._pause else self.first
        self._pause = min(grown, self.longest)
        return self._pause * (1 - JITTER + 2 * JITTER * self.random())

    def reset(self) -> None:
        """Begin again with the first pause, after a success."""
        self.failures, self._pause = 0, 0.0


class FloodListener(Protocol):
    """Receives what this process learns of flood waits, to share it with others."""

    def recorded(self, chat_id: int, seconds: float) -> None:
        """Take a 429 to a call for a chat.  Never raises, never blocks."""


class FloodControl:
    """
    Flood-wait deadlines, per chat and global.  Used on the event loop only.

    Telegram does not say whether the limit of a chat or the limit of the bot was
    reached.  A call during a flood wait makes it longer, so no call is made.  `clock`
    is monotonic.  `listener` receives each 429 to a call of this process.
    """

    def __init__(self, clock: Clock) -> None:
        self.listener: FloodListener | None = None
        self._clock = clock
        self._deadlines: dict[int, float] = {}
        self._recorded: dict[int, float] = {}
        self._global_deadline = -inf

    def check(self, chat_id: int) -> None:
        """Raise FloodWaitError before the deadline of this chat or of the bot."""
        if not self._deadlines and self._global_deadline == -inf:
            return
        now = self._clock()
        deadline = max(self._deadlines.get(chat_id, -inf), self._global_deadline)
        if deadline > now:
            raise FloodWaitError(deadline - now)
        self._deadlines.pop(chat_id, None)

    def record(
        self, chat_id: int, seconds: float, *, moved_from: int | None = None
    ) -> None:
        """
        Set the deadline of a chat, after a 429 to a call for it.

        `moved_from` is the old id of a chat that moved: both ids have to wait.
        """
        self.follow(chat_id, seconds, moved_from=moved_from)
        if self.listener is not None:
            self.listener.recorded(chat_id, seconds)

    @property
    def everyone_waits(self) -> float:
        """Return how many seconds the whole bot has to wait; 0 if it does not."""
        return max(self._global_deadline - self._clock(), 0.0)

    def follow_everyone(self, seconds: float) -> None:
        """Let the whole bot wait, because another process knows that it has to."""
        if seconds > 0:
            deadline = self._clock() + seconds
            self._global_deadline = max(self._global_deadline, deadline)

    def restore(self, chat_id: int, seconds: float) -> None:
        """Let a chat wait, because the process that worked it before had to."""
        if seconds <= 0:
            return
        now = self._clock()
        self._expire(now)
        deadline = max(self._deadlines.get(chat_id, -inf), now + seconds)
        self._deadlines[chat_id] = deadline

    def follow(
        self, chat_id: int, seconds: float, *, moved_from: int | None = None
    ) -> None:
        """Set the deadline of a chat, after a 429 to a call of any process."""
        now = self._clock()
        self._expire(now)
        self._recorded[chat_id] = now
        ids = {chat_id, chat_id if moved_from is None else moved_from}
        self._deadlines |= dict.fromkeys(ids, now + seconds)
        if len(self._recorded) >= GLOBAL_CHATS_THRESHOLD:
            self._global_deadline = max(self._global_deadline, now + seconds)

    def _expire(self, now: float) -> None:
        """Delete deadlines that have passed; above MAX_CHATS the earliest ones too."""
        window = now - GLOBAL_WINDOW_SECONDS
        self._recorded = {
            chat_id: at for chat_id, at in self._recorded.items() if at > window
        }
        self._deadlines = {
            chat_id: at for chat_id, at in self._deadlines.items() if at > now
        }
        while len(self._deadlines) >= MAX_CHATS:
            del self._deadlines[min(self._deadlines, key=self._deadlines.__getitem__)]
