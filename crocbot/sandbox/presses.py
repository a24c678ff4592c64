"""
Presses of buttons that wait for answerCallbackQuery.

    press(ada, message, "yes") --> {"callback_query": {"id": "1", "data": "yes", ...}}
    answer("1")                --> the button is no longer shown as busy

Telegram forgets a press after seconds: `answer` raises BotApiError then.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from crocbot.model import Clock
from crocbot.sandbox.messages import Person, Sent
from crocbot.sandbox.parameters import BotApiError

BUSY_SECONDS = 15.0
MAX_PRESSES = 10_000
TOO_OLD = (
    "Bad Request: query is too old and response timeout expired or query ID is invalid"
)


class Presses:
    """The presses of one bot; `answered` has the ids of those that were answered."""

    def __init__(self, clock: Clock) -> None:
        self.answered: list[str] = []
        self._clock = clock
        self._last = 0
        self._pressed_at: OrderedDict[str, float] = OrderedDict()

    def press(self, person: Person, message: Sent, data: str) -> Mapping[str, Any]:
        """Press a button under a message; return the update about it."""
        self._last += 1
        self._pressed_at[str(self._last)] = self._clock()
        while len(self._pressed_at) > MAX_PRESSES:
            self._pressed_at.popitem(last=False)
        query = {
            "id": str(self._last),
            "from": person.as_user(),
            "message": message,
            "chat_instance": "1",
            "data": data,
        }
        return {"callback_query": query}

    def answer(self, query_id: str) -> None:
        """Answer a press; BotApiError if it is unknown, too old or answered."""
        pressed_at = self._pressed_at.pop(query_id, None)
        if pressed_at is None or self._clock() - pressed_at > BUSY_SECONDS:
            raise BotApiError(400, TOO_OLD)
        self.answered.append(query_id)
