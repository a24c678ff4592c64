"""
Chats as operators write them.

    77   -1001234   "-1001234:5" --> ChatThread(-1001234, 5)
"""

from __future__ import annotations

import re

from crocbot.model import ChatThread

# Telegram's ids have at most 52 bits, those of topics 31.
MAX_CHAT_ID = 2**52 - 1
MAX_THREAD_ID = 2**31 - 1
CHAT = re.compile(r"(-?[0-9]{1,16})(?::([0-9]{1,10}))?")
CHAT_RULE = (
    "must be the id of a user or group, like 77 or -1001234, or of a topic, like"
    " -1001234:5"
)


def parse_chat(chat: object) -> ChatThread:
    """Return the chat of an id, or the topic of `id:topic`.  Raise ValueError."""
    found = CHAT.fullmatch(str(chat)) if type(chat) in (int, str) else None
    if found is not None:
        chat_id, thread_id = int(found[1]), int(found[2] or 1)
        if 0 < abs(chat_id) <= MAX_CHAT_ID and 0 < thread_id <= MAX_THREAD_ID:
            return ChatThread(chat_id, thread_id if found[2] else None)
    raise ValueError(CHAT_RULE)
