"""
The bot's reactions to messages.

    set(7, 3, "👀") --> of(7, 3) == "👀"      set(7, 3, None) --> of(7, 3) is None
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crocbot.sandbox.parameters import BotApiError
from crocbot.settings.reactions import reaction

MAX_REACTIONS = 10_000


@dataclass(frozen=True, slots=True)
class Reaction:
    """A reaction of the bot to a message; None means that it was removed."""

    chat_id: int
    message_id: int
    emoji: str | None


ReactionListener = Callable[[Reaction], None]
"""Is called with each reaction that the bot sets or removes."""


class Reactions:
    """The bot's reactions in all chats, at most one to a message."""

    def __init__(self) -> None:
        self._reactions: OrderedDict[tuple[int, int], str] = OrderedDict()
        self._listeners: list[ReactionListener] = []

    def listen(self, listener: ReactionListener) -> None:
        """Add a listener."""
        self._listeners.append(listener)

    def of(self, chat_id: int, message_id: int) -> str | None:
        """Return the reaction to a message."""
        return self._reactions.get((chat_id, message_id))

    def set(self, chat_id: int, message_id: int, emoji: str | None) -> None:
        """Set or remove the reaction to a message."""
        key = chat_id, message_id
        self._reactions.pop(key, None)
        if emoji is not None:
            self._reactions[key] = emoji
            while len(self._reactions) > MAX_REACTIONS:
                self._reactions.popitem(last=False)
        for listener in self._listeners:
            listener(Reaction(chat_id, message_id, emoji))


def read_emoji(reactions: Any) -> str | None:
    """Return the emoji of a list of ReactionType; BotApiError if Telegram has none."""
    if not reactions:
        return None
    try:
        (one,) = reactions
        if one["type"] == "emoji":
            return str(reaction(one["emoji"]))
    except (TypeError, KeyError, ValueError):
        pass
    raise BotApiError(400, "Bad Request: REACTION_INVALID")
