"""Updates that change what waits: edits, presses of buttons, membership."""

from __future__ import annotations

from typing import Any

import pytest

from crocbot import arrivals
from crocbot.model import Reply, Row
from tests.crocbot.test_dispatcher import ALBUM, FakeTurns, row, settle

OUT = {"status": "kicked"}
IN = {"status": "member"}


def text(update_id: int, message_id: int, chat: int = 7, **message: Any) -> Row:
    """Return the row of a message with an id."""
    return row(update_id, chat, message_id=message_id, **message)


def edit(update_id: int, message_id: int, chat: int = 7, **message: Any) -> Row:
    """Return the row of an edit."""
    edited = {"chat": {"id": chat}, "message_id": message_id, "text": "new"}
    raw = {"update_id": update_id, "edited_message": edited | message}
    return Row(update_id, raw, 5.0)


def press(update_id: int, data: str = "yes", user: int = 7) -> Row:
    """Return the row of the press of a button."""
    query = {
        "id": str(update_id),
        "from": {"id": user},
        "message": {"chat": {"id": 7}, "message_id": 2},
        "data": data,
    }
    return Row(update_id, {"update_id": update_id, "callback_query": query}, 0.0)


def member(update_id: int, old: Any, new: Any, chat: int = 7) -> Row:
    """Return the row of a change of membership."""
    change = {
        "chat": {"id": chat, "type": "private"},
        "old_chat_member": old,
        "new_chat_member": new,
    }
    return Row(update_id, {"update_id": update_id, "my_chat_member": change}, 0.0)


async def test_an_edit_takes_the_place_of_what_waits() -> None:
    """The order stays; an edit of the edit takes the place again."""
    world = FakeTurns()
    await world.enqueue(text(1, 11), text(2, 12), text(3, 13))
    await world.enqueue(edit(4, 12), edit(5, 12))
    assert world.replaced == [(2, 4), (4, 5)]
    assert world.dispatcher.queued == 3
    await world.finish(1, 5, 3)
    assert world.begun == [1, 5, 3]
    world.assert_idle()


async def test_an_edit_takes_the_place_of_an_edit_that_waits() -> None:
    """An agent that is told of edits is told of the last one only, as an edit."""
    world = FakeTurns()
    await world.enqueue(text(1, 11))
    await world.enqueue(edit(2, 11), edit(3, 11, text="newest"))
    assert world.replaced == [(2, 3)]
    await world.finish(1, 3)
    assert world.begun == [1, 3]
    world.assert_idle()
    newest = edit(3, 11, text="newest")
    assert arrivals.replacement(newest, edit(2, 11)).raw == newest.raw


async def test_an_edit_to_stop_overtakes() -> None:
    """What waits and is edited to /stop runs at once, and no later turn is stopped."""
    world = FakeTurns()
    await world.enqueue(text(1, 11), text(2, 12), text(3, 13))
    await world.enqueue(edit(4, 12, text="/stop"))
    assert world.begun == [1, 4]
    assert world.replaced == [(2, 4)]
    await world.finish(4, 1, 3)
    assert world.begun == [1, 4, 3]
    world.assert_idle()


@pytest.mark.parametrize(
    "waiting",
    [
        text(2, 13),
        text(2, 12, chat=8),
        Row(2, text(2, 12).raw, 0.0, retried=True),
        Row(2, text(2, 12).raw, 0.0, reply=Reply("undelivered")),
        Row(2, {"update_id": 2, "message": "?"}, 0.0),
        press(2),
    ],
)
async def test_an_edit_of_another_message_runs_in_its_order(waiting: Row) -> None:
    """It waits for its turn if that of its message has begun, or is not here."""
    world = FakeTurns()
    await world.enqueue(text(1, 12))
    await world.enqueue(waiting, edit(3, 12))
    await world.finish(1, 2, 3)
    assert world.begun == [1, 2, 3]
    assert world.replaced == []
    world.assert_idle()


async def test_an_edit_of_a_message_whose_turn_crashed() -> None:
    """Its turn has begun, so it is not replaced."""
    world = FakeTurns()
    world.dispatcher.resume([Row(1, text(1, 11).raw, 0.0, tries=1), edit(2, 11)])
    await settle()
    await world.finish(1, 2)
    assert (world.replaced, world.begun) == ([], [1, 2])
    world.assert_idle()


@pytest.mark.parametrize("broken", ["?", {}, {"chat": {"id": 7}}, {"message_id": 12}])
async def test_an_edit_that_cannot_be_read(broken: Any) -> None:
    """It replaces nothing, and waits for its turn."""
    world = FakeTurns()
    await world.enqueue(text(1, 11), text(2, 12))
    await world.enqueue(Row(3, {"update_id": 3, "edited_message": broken}, 0.0))
    await world.finish(1, 2, 3)
    assert world.replaced == []
    world.assert_idle()


async def test_an_edit_of_a_photo_of_an_album() -> None:
    """The album stays together, with the new caption."""
    world = FakeTurns(gather_seconds=30.0)
    await world.enqueue(text(1, 11, **ALBUM), text(2, 12, **ALBUM))
    await world.enqueue(edit(3, 11, **ALBUM), text(4, 13, text="next"))
    assert world.replaced == [(1, 3)]
    world.dispatcher.stop_turn(7)
    await settle()
    assert world.cancelled == [3, 2]
    await world.finish(4)
    world.assert_idle()


async def test_an_edit_after_a_crash_between() -> None:
    """A process that begins with both rows lets the edit take the place."""
    world = FakeTurns()
    world.dispatcher.resume([text(1, 11), text(2, 12), edit(3, 11)])
    await settle()
    await world.finish(3, 2)
    assert (world.replaced, world.begun) == ([(1, 3)], [3, 2])
    world.assert_idle()


async def test_a_press_is_confirmed_while_its_chat_is_busy() -> None:
    """Telegram is told at once; the press waits for its turn."""
    world = FakeTurns()
    await world.enqueue(text(1, 11), press(2))
    assert world.confirmed == [(2, False)]
    assert world.begun == [1]
    await world.finish(1, 2)
    assert world.begun == [1, 2]
    world.assert_idle()


async def test_a_press_that_is_opened_again() -> None:
    """Telegram has forgotten it: only its turn runs."""
    world = FakeTurns()
    await world.enqueue(Row(1, press(1).raw, 0.0, retried=True))
    assert (world.confirmed, world.begun) == ([], [1])
    await world.finish(1)
    world.assert_idle()


async def test_a_press_that_is_repeated() -> None:
    """It needs no second turn while the first waits or runs; afterwards it does."""
    world = FakeTurns()
    await world.enqueue(press(1), press(2), press(3, "no"), press(4, user=8))
    assert world.ignored == [2]
    await world.finish(1)
    await world.enqueue(press(5))
    await world.finish(3, 4, 5)
    assert world.begun == [1, 3, 4, 5]
    assert world.confirmed == [
        (1, False),
        (2, True),
        (3, False),
        (4, False),
        (5, False),
    ]
    world.assert_idle()


async def test_a_press_of_stop_passes_all_that_waits() -> None:
    """Its data is the command /stop: it runs at once, as the command does."""
    world = FakeTurns(stop_at_once=True)
    await world.enqueue(text(1, 11), text(2, 12), press(3, "/stop"))
    assert world.cancelled == [1]
    assert world.confirmed == [(3, False)]
    await world.finish(2)
    world.assert_idle()


async def test_a_chat_that_blocks_the_bot() -> None:
    """Its turn ends, its rows are closed; the next rows and other chats go on."""
    world = FakeTurns(max_turns=5)
    await world.enqueue(text(1, 11), text(2, 12), text(3, 11, chat=8))
    await world.enqueue(member(4, IN, OUT), member(5, OUT, IN), text(6, 13))
    assert sorted(world.cancelled) == [1, 2]
    assert world.ignored == [4, 5]
    await world.finish(3, 6)
    assert world.finished == [3, 6]
    world.assert_idle()


async def test_a_chat_without_rows_that_blocks_the_bot() -> None:
    """There is nothing to end; the change itself is closed."""
    world = FakeTurns()
    await world.enqueue(member(1, IN, OUT), member(2, IN, {"status": "administrator"}))
    assert (world.cancelled, world.ignored) == ([], [1, 2])
    world.assert_idle()


async def test_rows_that_a_change_opens_again() -> None:
    """They are queued like others."""
    world = FakeTurns()
    world.opened = [Row(1, text(1, 11).raw, 0.0, retried=True)]
    await world.enqueue(member(2, OUT, IN))
    await world.finish(1)
    assert world.finished == [1]
    world.assert_idle()


async def test_a_suspect_of_a_lost_chat() -> None:
    """Rows of other chats do not wait for it any more."""
    world = FakeTurns()
    suspect = Row(1, text(1, 11).raw, 0.0, tries=1)
    world.dispatcher.resume([suspect, text(2, 12, chat=8)])
    await world.enqueue(member(3, IN, OUT))
    assert world.cancelled == [1]
    await world.finish(2)
    assert world.finished == [2]
    world.assert_idle()
