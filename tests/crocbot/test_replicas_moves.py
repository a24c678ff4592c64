"""A group that became a supergroup is known to the replica that gets its messages."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from crocbot.chat_moves import ChatMoves
from crocbot.database_url import DatabaseUrl
from crocbot.errors import StoreError
from crocbot.leases_sql import FoundChat
from crocbot.replicas.heartbeat import Beat
from crocbot.replicas.moves import SharedMoves
from crocbot.replicas.sessions import LeasedSessions
from crocbot.store.postgresql import PostgresStore
from tests.crocbot.fakes import RecordedEvents
from tests.crocbot.test_replicas_chats import (
    Replica,
    World,
    quick,
    update,
    world,
)

__all__ = ["quick", "world"]

OLD, NEW = -5, -1005


class Moves:
    """The moves that a process knows, with a listed group."""

    def __init__(self, store: PostgresStore) -> None:
        sessions = LeasedSessions(store, turns=3, chars=100)
        self.moves = ChatMoves(sessions, {OLD: "always"}, RecordedEvents())
        self.shared = SharedMoves(self.moves)

    @property
    def known(self) -> bool:
        """Return whether messages of the new id have access."""
        return NEW in self.moves.groups


def beat(moves: int) -> Beat:
    """Return an answer of the database with this number of moves."""
    return Beat(epoch=1, leader="a", left=9.0, flood_seconds=0.0, moves=moves)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    """Return an open store."""
    async with PostgresStore(DatabaseUrl.parse(database_url)) as opened:
        yield opened


async def test_heartbeats_tell_of_moves(store: PostgresStore) -> None:
    """A move of another replica is read once, and notified by that one."""
    first, second = Moves(store), Moves(store)
    notified = store.listen("crocbot")
    assert await anext(notified) == ""
    await first.moves.record(OLD, NEW)
    assert await anext(notified) == "moves"
    await notified.aclose()
    await second.shared.follow(beat(0))
    assert not second.known
    await second.shared.follow(beat(1))
    assert second.known


async def test_a_move_that_was_not_stored_is_stored_by_a_heartbeat(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it other replicas would never know."""
    first, second = Moves(store), Moves(store)

    async def fail(*_: object, **__: object) -> None:
        raise StoreError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(store, "run", fail)
        await first.moves.record(OLD, NEW)
    await first.shared.follow(beat(0))
    await second.moves.load()
    assert second.known


@pytest.mark.parametrize("way", ["accept", "load"])
async def test_a_move_is_known_before_rows_are_worked(world: World, way: str) -> None:
    """Between two heartbeats as well: the rows of the chat tell that it has moved."""
    replica = await world.add()
    moves = Moves(replica.store)
    known: list[bool] = []
    resume = replica.dispatcher.resume

    def record(rows: object) -> None:
        known.append(moves.known)
        resume(rows)  # type: ignore[arg-type]

    replica.dispatcher.resume = record  # type: ignore[assignment,method-assign]
    replica.chats.moves = moves.shared
    world.gated = False
    await world.query("INSERT INTO moved_chats VALUES (-5, -1005) RETURNING 1")
    accepting = replica if way == "accept" else await other(world)
    await accepting.accept(update(1, NEW))
    await world.until_closed(1)
    assert replica.chats.get(NEW) is None
    assert known
    assert all(known)


async def other(world: World) -> Replica:
    """Return a replica that only stores."""
    return await world.add(max_turns=0)


async def test_chats_that_have_not_moved_are_not_looked_up() -> None:
    """Nothing is read for them."""
    moves = SharedMoves(ChatMoves(None, {}, RecordedEvents()))  # type: ignore[arg-type]
    await moves.know([FoundChat(7, 1, 1)])
    with pytest.raises(AttributeError):
        await moves.know([FoundChat(OLD, 1, 1, moved_to=NEW)])
