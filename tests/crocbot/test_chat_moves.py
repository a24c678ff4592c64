"""Groups that became supergroups: access and conversation follow, and it is logged."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from crocbot import sessions
from crocbot.chat_moves import ChatMoves
from crocbot.errors import StoreError
from crocbot.model import ChatThread, ErrorEvent, ErrorType, Exchange, Severity, Usage
from crocbot.sessions import Sessions
from crocbot.store import Store
from tests.crocbot.databases import Database
from tests.crocbot.fakes import RecordedEvents

OLD, NEW, OTHER = -5, -1005, -6


class MovesFixture:
    """The moves of one run of a gateway with these groups."""

    def __init__(self, store: Store, groups: dict[int, str]) -> None:
        self.sessions = Sessions(store, turns=3, chars=100)
        self.events = RecordedEvents()
        self.moves = ChatMoves(self.sessions, groups, self.events)


@pytest.fixture
async def store(database: Database) -> AsyncIterator[Store]:
    """Return an open store."""
    async with database.store([sessions.SCHEMA]) as opened:
        yield opened


async def test_a_listed_group(store: Store) -> None:
    """The supergroup has the mode and the conversation of the group."""
    scene = MovesFixture(store, {OLD: "always", OTHER: "mention"})
    await scene.sessions.remember(ChatThread(OLD), Exchange("a", "A"), Usage())
    with capture_logs() as logs:
        for _ in range(2):
            await scene.moves.record(OLD, NEW)

    assert scene.moves.groups == {OLD: "always", NEW: "always", OTHER: "mention"}
    assert await scene.sessions.history(ChatThread(NEW)) == (Exchange("a", "A"),)
    (line,) = logs
    assert line["fix"] == f"replace {OLD} by {NEW} in CROCBOT_GROUPS"


async def test_a_restart(store: Store) -> None:
    """A move still holds after a restart, and is logged until the setting is right."""
    await MovesFixture(store, {OLD: "always"}).moves.record(OLD, NEW)
    restarted = MovesFixture(store, {OLD: "always"})
    with capture_logs() as logs:
        await restarted.moves.load()

    assert restarted.moves.groups == {OLD: "always", NEW: "always"}
    assert [line["log_level"] for line in logs] == ["warning"]


@pytest.mark.parametrize(
    "groups", [{}, {OTHER: "always"}, {NEW: "mention"}, {OLD: "always", NEW: "mention"}]
)
async def test_no_access_is_given(store: Store, groups: dict[int, str]) -> None:
    """A group that is not listed gets no access, and a listed supergroup keeps its."""
    scene = MovesFixture(store, groups)
    with capture_logs() as logs:
        await scene.moves.record(OLD, NEW)

    assert scene.moves.groups == groups
    assert [line["log_level"] for line in logs] == ["info"]


async def test_a_move_that_cannot_be_stored(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds for this run; the error is logged and counted."""
    scene = MovesFixture(store, {OLD: "always"})

    async def fail(_old: int, _new: int) -> None:
        raise StoreError("disk full")

    monkeypatch.setattr(scene.sessions, "move", fail)
    await scene.moves.record(OLD, NEW)

    assert NEW in scene.moves.groups
    assert scene.events == [ErrorEvent(ErrorType.INBOX, Severity.CRITICAL)]


async def test_a_move_is_stored_later(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next time that the moves are read, or that Telegram tells of it."""
    for again in ("load", "record"):
        await store.run(lambda each: each.execute("DELETE FROM moved_chats"))
        scene = MovesFixture(store, {OLD: "always"})

        async def fail(_old: int, _new: int) -> None:
            raise StoreError("gone")

        with monkeypatch.context() as patch:
            patch.setattr(scene.sessions, "move", fail)
            await scene.moves.record(OLD, NEW)
        assert scene.moves.has_unstored
        with capture_logs() as logs:
            if again == "load":
                await scene.moves.load()
            else:
                await scene.moves.record(OLD, NEW)
        assert logs == []
        assert not scene.moves.has_unstored
        assert await scene.sessions.moves() == [(OLD, NEW)]
