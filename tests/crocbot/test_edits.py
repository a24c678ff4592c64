"""Which edits the agent is told of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from crocbot import edits
from crocbot.arrival_outcomes import EditOutcome
from crocbot.edits import MAX_DIGESTS, Edits
from crocbot.errors import StoreError
from crocbot.model import ErrorEvent, Row
from crocbot.store import Store
from tests.crocbot.databases import Database
from tests.crocbot.fakes import FakeClocks, RecordedEvents, a_message

ANSWERED, UNCHANGED = EditOutcome.ANSWERED, EditOutcome.UNCHANGED


class EditsFixture:
    """The policy `answer`, over a file."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.events = RecordedEvents()
        self.edits = Edits(store, self.events, mode="answer")

    async def message(self, update_id: int, number: int = 3, **content: Any) -> None:
        """Decide about a new message."""
        row = a_row("message", update_id, number, content)
        assert await self.edits.decide(a_message(), [row]) is None

    async def edit(
        self, update_id: int, command: str | None = None, **content: Any
    ) -> EditOutcome | None:
        """Decide about an edit of message 3."""
        row = a_row("edited_message", update_id, 3, content)
        message = a_message(edited=True, command=command)
        return await self.edits.decide(message, [row])


def a_row(kind: str, update_id: int, message_id: int, content: Any) -> Row:
    """Return the row of a message or an edit."""
    message = {"chat": {"id": 7}, "message_id": message_id} | content
    return Row(update_id, {"update_id": update_id, kind: message}, 0.0)


@pytest.fixture
async def world(database: Database) -> AsyncIterator[EditsFixture]:
    """Return the policy with an empty file."""
    async with database.store([edits.SCHEMA], FakeClocks()) as store:
        yield EditsFixture(store)


async def test_a_change(world: EditsFixture) -> None:
    """What differs from the version before is told; what does not is Telegram's."""
    await world.message(1, text="one")
    preview = {"link_preview_options": {"url": "https://a"}, "edit_date": 5}
    assert await world.edit(2, text="one", **preview) is UNCHANGED
    assert await world.edit(3, text="two") is ANSWERED
    assert await world.edit(4, text="two") is UNCHANGED
    assert await world.edit(5, text="one") is ANSWERED


async def test_a_turn_that_did_not_end(world: EditsFixture) -> None:
    """The same update is decided again in the same way."""
    await world.message(1, text="one")
    assert await world.edit(2, text="two") is ANSWERED
    assert await world.edit(2, text="two") is ANSWERED


async def test_a_command_never_runs_by_an_edit(world: EditsFixture) -> None:
    """An edit that is a command is counted, and does nothing."""
    await world.message(1, text="/nwe")
    assert await world.edit(2, command="new", text="/new") is EditOutcome.COMMAND


async def test_a_live_location(world: EditsFixture) -> None:
    """Telegram sends each of its positions as an edit."""
    await world.message(1, location={"latitude": 1, "longitude": 1})
    assert await world.edit(2, location={"latitude": 2, "longitude": 1}) is UNCHANGED


async def test_an_unknown_message(world: EditsFixture) -> None:
    """An edit of a message that is not remembered counts as a change."""
    assert await world.edit(1, text="one") is ANSWERED


@pytest.mark.parametrize(("edited", "outcome"), [(True, "ignored"), (False, None)])
async def test_edits_are_ignored_by_default(edited: bool, outcome: str | None) -> None:
    """Then nothing of a message is remembered either: there is no file."""
    policy = Edits(None, RecordedEvents(), mode="ignore")  # type: ignore[arg-type]

    assert await policy.decide(a_message(edited=edited), []) == outcome


async def test_the_digests_are_bounded(world: EditsFixture) -> None:
    """The oldest are forgotten."""
    await world.message(1, 3, text="one")
    for number in range(10):
        await world.message(2 + number, 10 + number, text="x")
    await world.store.run(
        lambda connection: connection.execute(
            "UPDATE message_digests SET id = id + ? WHERE message_id <> 3",
            (MAX_DIGESTS,),
        )
    )
    await world.message(100, 100, text="x")
    count = await world.store.run(
        lambda connection: connection.execute(
            "SELECT count(*) FROM message_digests"
        ).fetchone()
    )
    assert count == (11,)


class FullStore:
    """A file on a full disk."""

    async def run(self, _: object) -> bool:
        raise StoreError("disk full")


async def test_a_file_that_cannot_be_used() -> None:
    """The edit counts as a change, and the error is counted."""
    world = EditsFixture(FullStore())  # type: ignore[arg-type]

    assert await world.edit(1, text="one") is ANSWERED
    assert world.events.of_type(ErrorEvent)
