"""
The chats whose leases this process has, in memory.

    accept, load --> take_...(): rows that were not taken before, in their order
    close, release, lose --> forgotten

A chat is known up to a version of its row in the database.  If a change makes exactly
the next version, and its rows are at hand, all rows up to it are known; else the chat
has to be loaded.  Rows have the order of their `seq`, so that a row is new if its `seq`
is higher than that of all rows that were taken.

A chat that was lost is kept apart until no row of it is here any more, since its turn
may still run: meanwhile this process does not take it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from crocbot import log
from crocbot.events import NO_EVENTS, EventListener
from crocbot.inbox.postgresql import FoundRow
from crocbot.leases import Lease
from crocbot.leases_sql import FoundChat, Key
from crocbot.model import Row
from crocbot.replica_events import LeaseLost
from crocbot.replicas.times import OWNED_SECONDS

UNKNOWN = -1
# Of one chat: more than its turns work soon, so that a /stop behind them is seen.
MAX_ROWS = 200

logger = log.logger(__name__)


class Worker(Protocol):
    """What runs the turns of this process: the dispatcher."""

    @property
    def free_turns(self) -> int:
        """Return how many chats more may be in a turn."""

    def resume(self, rows: Sequence[Row]) -> None:
        """Queue rows, suspects first."""

    def abandon(self, chat: int) -> None:
        """Cancel the turn of a chat, and drop its rows."""


class Moves(Protocol):
    """The moves of chats that this process knows: groups that became supergroups."""

    async def know(self, chats: Sequence[FoundChat]) -> None:
        """Read the moves again if one of these chats has moved.  Raise StoreError."""


class NoMoves:
    """Before the moves are known, when there is no worker either."""

    async def know(self, chats: Sequence[FoundChat]) -> None:
        """Do nothing."""


class NoWorker:
    """Before there is a dispatcher."""

    free_turns = 0

    def resume(self, rows: Sequence[Row]) -> None:
        """Take no rows: there is no room for them."""

    def abandon(self, chat: int) -> None:
        """Do nothing."""


def lease_end(asked_at: float) -> float:
    """Return when this process must stop with a lease that it asked for at a time."""
    return asked_at + OWNED_SECONDS


@dataclass(slots=True, kw_only=True, eq=False)
class HeldChat:
    """
    A chat that this process holds.

    `version` is the one up to which all its rows were taken, `latest` the highest one
    that is known of the database, `last_seq` that of the last row that was taken.
    `stale` means that a higher version was notified, `releasing` that the lease is
    being given back.
    """

    lease: Lease
    version: int = UNKNOWN
    latest: int = UNKNOWN
    last_seq: int = 0
    stale: bool = False
    releasing: bool = False
    update_ids: set[int] = field(default_factory=set)

    @property
    def key(self) -> Key:
        """Return what names the lease in the database."""
        return self.lease.chat, self.lease.epoch

    @property
    def room(self) -> int:
        """Return how many rows more of the chat may wait here."""
        return max(MAX_ROWS - self.lease.users, 0)

    @property
    def is_behind(self) -> bool:
        """Return whether the database may have rows that were not taken."""
        return self.stale or self.version == UNKNOWN or self.version < self.latest


class HeldChats:
    """
    The table of them.  Event loop only.

    `moves` are to know those of a chat before its rows are worked.  `wake` is set when
    the last row of a chat has left, and when rows have to be loaded.
    `unwanted` are leases that this process got and must give back.
    """

    def __init__(self, owner: str, events: EventListener = NO_EVENTS) -> None:
        self.owner = owner
        self.worker: Worker = NoWorker()
        self.moves: Moves = NoMoves()
        self.wake = asyncio.Event()
        self.unwanted: list[Key] = []
        self._events = events
        self._chats: dict[int, HeldChat] = {}
        self._lost: dict[int, HeldChat] = {}
        self._leases: dict[int, Lease] = {}

    def __len__(self) -> int:
        return len(self._chats)

    def __iter__(self) -> Iterator[HeldChat]:
        return iter(list(self._chats.values()))

    def get(self, chat: int) -> HeldChat | None:
        """Return a chat that is held, by its first id."""
        return self._chats.get(chat)

    def lease(self, chat: int) -> Lease | None:
        """Return the lease of a chat, None if another replica may work it."""
        held = self._chats.get(chat)
        return None if held is None else held.lease

    def lease_of_update(self, update_id: int) -> Lease | None:
        """Return the lease, held or lost, of a row that is here and not closed."""
        return self._leases.get(update_id)

    @property
    def lost(self) -> list[int]:
        """Return the chats that were lost and of which rows are still here."""
        for held in list(self._lost.values()):
            if not held.lease.users:
                del self._lost[held.lease.chat]
                self._forget_rows(held)
        return list(self._lost)

    def add(self, found: FoundChat, until: float) -> HeldChat | None:
        """Add a chat whose lease was taken; None if an old turn of it still runs."""
        held = self._chats.get(found.chat)
        if held is not None and held.lease.epoch == found.epoch:
            return held
        if held is not None and held.releasing:
            self.remove(held)
        elif held is not None:
            self.lose(held)
        if found.chat in self.lost:
            self.unwanted.append((found.chat, found.epoch))
            self.wake.set()
            return None
        lease = Lease(
            found.chat,
            found.epoch,
            until,
            idle=self.wake,
            flood_seconds=found.flood_seconds,
        )
        held = self._chats[found.chat] = HeldChat(lease=lease)
        return held

    def take_accepted(
        self, held: HeldChat, found: FoundChat, rows: Sequence[FoundRow]
    ) -> list[Row]:
        """Return rows that were just stored, if no other one is missing before them."""
        held.latest = max(held.latest, found.version)
        is_first = found.version == 1 and held.version == UNKNOWN
        is_next = is_first or held.version == found.version - 1 > UNKNOWN
        if is_next and len(rows) <= held.room:
            held.version = found.version
            return self._take(held, rows)
        self.wake.set()
        return []

    def take_loaded(
        self, held: HeldChat, found: FoundChat, rows: Sequence[FoundRow], room: int
    ) -> list[Row]:
        """Return those of at most `room` rows that were not taken before."""
        if self._chats.get(found.chat) is not held:
            return []
        held.latest = max(held.latest, found.version)
        if len(rows) < room:
            held.version = max(held.version, found.version)
        return self._take(held, rows)

    def _take(self, held: HeldChat, found: Iterable[FoundRow]) -> list[Row]:
        rows = []
        for each in found:
            if each.seq <= held.last_seq:
                continue
            held.last_seq = each.seq
            row = replace(each.row, lease=held.lease)
            held.update_ids.add(row.update_id)
            self._leases[row.update_id] = held.lease
            rows.append(row)
        return rows

    def closed(self, update_id: int) -> None:
        """Forget a row that is closed in the database."""
        lease = self._leases.pop(update_id, None)
        held = None if lease is None else self._chats.get(lease.chat)
        if held is not None and held.lease is lease:
            held.update_ids.discard(update_id)

    def lose(self, held: HeldChat) -> None:
        """Take the loss of a lease: its rows can neither be closed nor answered."""
        chat, rows = held.lease.chat, held.lease.users
        if self._chats.get(chat) is not held:
            return
        logger.warning("a chat is worked by another replica now", chat=chat, rows=rows)
        self._events.emit(LeaseLost())
        del self._chats[chat]
        held.lease.lose()
        self._lost[chat] = held
        self.worker.abandon(chat)
        self.wake.set()

    def lose_lease(self, lease: Lease) -> None:
        """Take the loss of a lease that is found to be no longer in the database."""
        held = self._chats.get(lease.chat)
        if held is not None and held.lease is lease:
            self.lose(held)

    def remove(self, held: HeldChat) -> None:
        """Remove a chat whose lease was given back."""
        if self._chats.get(held.lease.chat) is held:
            del self._chats[held.lease.chat]
            held.lease.lose()
            self._forget_rows(held)

    def _forget_rows(self, held: HeldChat) -> None:
        for update_id in held.update_ids:
            if self._leases.get(update_id) is held.lease:
                del self._leases[update_id]
