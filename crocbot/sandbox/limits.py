"""
A limit of messages like Telegram's: about 30 a second for a bot, edits included.

    30 calls within a second --> the next one gets a flood wait

Drafts and chat actions are not counted.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from crocbot.model import Clock

COUNTED = frozenset({"sendmessage", "editmessagetext"})
WINDOW_SECONDS = 1.0


@dataclass(slots=True, kw_only=True)
class MessageLimit:
    """
    At most `per_second` messages and edits; `refused` counts the calls beyond it.

    A refused call has to wait `flood_seconds`.  `clock` is monotonic.
    """

    per_second: int = 30
    flood_seconds: int = 3
    clock: Clock = time.monotonic
    refused: int = field(default=0, init=False)
    _calls: deque[float] = field(default_factory=deque, init=False)

    def allow(self, method: str) -> bool:
        """Count a call of a method, in lower case; return whether it is allowed."""
        if method not in COUNTED:
            return True
        now = self.clock()
        while self._calls and self._calls[0] <= now - WINDOW_SECONDS:
            self._calls.popleft()
        if len(self._calls) >= self.per_second:
            self.refused += 1
            return False
        self._calls.append(now)
        return True
