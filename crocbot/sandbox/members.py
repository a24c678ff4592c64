"""
Whether the bot is in each chat, and what Telegram says when it is not.

    change(ada, chat, "kicked") --> {"my_chat_member": {...}}, and then
    check(chat)                 --> 403 Forbidden: bot was blocked by the user
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from crocbot.sandbox.messages import Chat, Person
from crocbot.sandbox.parameters import BotApiError

MAX_CHATS = 10_000
GONE = frozenset({"left", "kicked"})
MEMBER = "member"
BLOCKED = "Forbidden: bot was blocked by the user"
REMOVED = "Forbidden: bot was kicked from the group chat"


class Members:
    """The status of the bot in each chat: member, administrator, left, kicked."""

    def __init__(self, user: Mapping[str, Any]) -> None:
        self._user = user
        self._statuses: OrderedDict[int, str] = OrderedDict()

    def change(self, person: Person, chat: Chat, status: str, date: int) -> Any:
        """Give the bot a status in a chat; return the update about it."""
        first = MEMBER if status in GONE else "left"
        old = self._statuses.pop(chat.chat_id, first)
        self._statuses[chat.chat_id] = status
        while len(self._statuses) > MAX_CHATS:
            self._statuses.popitem(last=False)
        change = {
            "chat": chat.as_chat(),
            "from": person.as_user(),
            "date": date,
            "old_chat_member": {"user": self._user, "status": old},
            "new_chat_member": {"user": self._user, "status": status},
        }
        return {"my_chat_member": change}

    def check(self, chat: Chat) -> None:
        """Raise BotApiError if the bot cannot write to a chat."""
        if self._statuses.get(chat.chat_id, MEMBER) in GONE:
            error = BLOCKED if chat.type == "private" else REMOVED
            raise BotApiError(403, error)
