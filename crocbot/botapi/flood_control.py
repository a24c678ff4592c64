"""
Who has to wait until when, because Telegram said so.

    429 for chat 7, 30 s   -->  chat 7 is silent for 30 s, others are not
    429 for many chats     -->  it means the bot: all are silent

Telegram does not say which of its limits was met, that of a chat or that of the bot.
Sending into a wait makes it longer, so nothing is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from crocbot.errors import FloodWaitError

# So many chats at once do not all write too much.
MANY = 3
AT_ONCE_SECONDS = 5.0
MOST_CHATS = 10_000


class FloodControl:
    """The waits.  Owned by the event loop; `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[int, float] = {}
        self._noted: dict[int, float] = {}
        self._all_until = -inf

    def check(self, chat_id: int) -> None:
        """Raise FloodWaitError while this chat, or the bot, has to wait."""
        if not self._until and self._all_until == -inf:
            return
        now = self._clock()
        left = max(self._until.get(chat_id, -inf), self._all_until) - now
        if left > 0:
            raise FloodWaitError(left)
        self._until.pop(chat_id, None)

    def note(self, chat_id: int, seconds: float) -> None:
        """Telegram asked to wait when we wrote to this chat."""
        now = self._clock()
        self._forget(now)
        self._noted[chat_id] = now
        self._until[chat_id] = now + seconds
        if len(self._noted) >= MANY:
            self._all_until = max(self._all_until, now + seconds)

    def _forget(self, now: float) -> None:
        """Drop what is over; under a flood of chats, what is over first."""
        self._noted = {
            chat: at for chat, at in self._noted.items() if now - at < AT_ONCE_SECONDS
        }
        self._until = {chat: at for chat, at in self._until.items() if at > now}
        while len(self._until) >= MOST_CHATS:
            del self._until[min(self._until, key=self._until.__getitem__)]
