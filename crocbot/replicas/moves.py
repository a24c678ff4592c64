"""
Moves of chats that another replica has recorded: groups that became supergroups.

    notification --> heartbeat: the number of moves --.
    rows of a chat that has moved --------------------+--> ChatMoves.load()
                                                      '    access, sessions

Without its move a chat has the access of an unknown group: its messages would be
denied.  So the move is known before its rows are worked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from crocbot.chat_moves import ChatMoves
from crocbot.leases_sql import FoundChat
from crocbot.replicas.heartbeat import Beat


@dataclass(slots=True)
class SharedMoves:
    """A BeatListener, and the Moves of the chats that are held."""

    moves: ChatMoves
    _known: int = field(default=0, init=False)

    async def follow(self, beat: Beat) -> None:
        """Read the moves if another replica has recorded one; raise StoreError."""
        if beat.moves != self._known or self.moves.has_unstored:
            await self.moves.load()
            self._known = beat.moves

    async def know(self, chats: Sequence[FoundChat]) -> None:
        """Read the moves if one of these is not known; raise StoreError."""
        if any(
            each.moved_to is not None
            and self.moves.origin(each.moved_to) != self.moves.origin(each.chat)
            for each in chats
        ):
            await self.moves.load()
