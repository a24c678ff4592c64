"""
Groups that became supergroups, which gives them a new id.

    service message, or an error of a call --> record(-5, -1005) --> access, sessions

The new id has the access of the old one, and the conversation.  Moves are kept in the
file of the sessions, so that they hold after a restart.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from crocbot import log
from crocbot.errors import StoreError
from crocbot.events import EventListener
from crocbot.model import ErrorEvent, Severity
from crocbot.sessions import Sessions

MAX_MOVES = 10

logger = log.logger(__name__)


class ChatMoves:
    """
    The moves of all chats.

    `groups` are the modes of the listed groups, by their old and their new ids; it
    grows while the gateway runs.
    """

    def __init__(
        self, sessions: Sessions, groups: Mapping[int, str], events: EventListener
    ) -> None:
        self.groups = dict(groups)
        self._sessions = sessions
        self._events = events
        self._moves: dict[int, int] = {}
        self._origins: dict[Hashable, Hashable] = {}
        self._unstored: dict[int, int] = {}

    @property
    def has_unstored(self) -> bool:
        """Return whether a move could not be stored; `load()` tries it again."""
        return bool(self._unstored)

    def origin(self, chat: Hashable) -> Hashable:
        """Return the first id of a chat, which has one queue under all of its ids."""
        return self._origins.get(chat, chat)

    def latest(self, chat: int) -> int:
        """Return the id that a chat has now."""
        # A chat moves once; the bound is for a file with a circle.
        for _ in range(MAX_MOVES):
            if chat not in self._moves:
                break
            chat = self._moves[chat]
        return chat

    async def load(self) -> None:
        """Follow the moves that were recorded before.  Raise StoreError."""
        for old, new in list(self._unstored.items()):
            await self._store(old, new)
        for old, new in await self._sessions.moves():
            self._follow(old, new)

    async def record(self, old: int, new: int) -> None:
        """Follow a move, and keep it; an error is logged and counted."""
        if self._moves.get(old) != new:
            self._follow(old, new)
        elif old not in self._unstored:
            return
        try:
            await self._store(old, new)
        except StoreError as error:
            logger.error("a move of a chat was not stored", chat=old, error=str(error))
            self._events.emit(ErrorEvent(error.type, Severity.CRITICAL))

    async def _store(self, old: int, new: int) -> None:
        self._unstored[old] = new
        await self._sessions.move(old, new)
        self._unstored.pop(old, None)

    def _follow(self, old: int, new: int) -> None:
        if self._moves.get(old) == new:
            return
        self._moves[old] = new
        self._origins[new] = self.origin(old)
        mode = self.groups.get(old)
        if mode is None or new in self.groups:
            logger.info("a group became a supergroup", chat=old, new_chat=new)
            return
        self.groups[new] = mode
        logger.warning(
            "a group became a supergroup, which is answered like the group",
            chat=old,
            new_chat=new,
            fix=f"replace {old} by {new} in CROCBOT_GROUPS",
        )
