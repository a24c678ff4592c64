"""A reaction on messages that wait: shown and removed, and no turn waits for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import telegram.constants

from crocbot import leases
from crocbot.errors import (
    ChatGoneError,
    DeliveryError,
    FloodWaitError,
    OperatorError,
    Refusal,
    TelegramError,
    UnknownMethodError,
)
from crocbot.events import Method
from crocbot.leases import Lease
from crocbot.model import ChatThread, ErrorEvent, Message, ReconnectReason, Row
from crocbot.settings.reactions import REACTIONS, VARIATION_SELECTOR, reaction
from crocbot.turn import Acknowledger, acknowledge
from tests.crocbot.fakes import RecordedEvents, a_message

DOWN = TelegramError("down", ReconnectReason.NETWORK)


class Chats:
    """Chats in which messages are acknowledged; user 9 may not be answered."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int, str | None]] = []
        self.errors: list[Exception | None] = []
        self.missing: set[Method] = set()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.events = RecordedEvents()
        self.acknowledger = Acknowledger(
            emoji="👀",
            calls=self,  # type: ignore[arg-type]
            stages=self,  # type: ignore[arg-type]
            events=self.events,
        )

    def has(self, method: Method) -> bool:
        return method not in self.missing

    async def answerable(self, row: Row) -> Message | None:
        user = row.raw["message"]["from"]
        chat = ChatThread(user)
        return None if user == 9 else a_message(chat=chat, message_id=row.update_id)

    async def set_reaction(
        self, chat: ChatThread, message_id: int, emoji: str | None
    ) -> None:
        self.calls.append((chat.chat_id, message_id, emoji))
        await self.go_on.wait()
        if self.errors and (error := self.errors.pop(0)):
            raise error

    async def accept(self, *rows: Row) -> None:
        self.acknowledger.accepted(rows)
        await settle()

    async def end(self, *update_ids: int) -> None:
        self.acknowledger.ended(update_ids)
        await settle()


def row(update_id: int, user: int = 7, text: str = "hi") -> Row:
    """Return the row of a message."""
    return Row(update_id, {"message": {"from": user, "text": text}}, 0.0)


async def settle() -> None:
    """Let every task run until it waits for something."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_reaction() -> None:
    """It is set for each message that may be answered, and removed with its row."""
    chats = Chats()
    before = asyncio.all_tasks()
    press = Row(4, {"callback_query": {}}, 0.0)
    await chats.accept(row(1), row(2, 8), row(3, 9), press, row(5, text="/stop"))
    assert chats.calls == [(7, 1, "👀"), (8, 2, "👀")]
    await chats.end(1, 3, 99)
    assert chats.calls[2:] == [(7, 1, None)]
    await chats.acknowledger.close()
    assert asyncio.all_tasks() == before


async def test_an_edit_of_what_waits() -> None:
    """The reaction stays until the row of the edit is closed."""
    chats = Chats()
    await chats.accept(row(1))
    chats.acknowledger.replaced(1, 2)
    await chats.end(1)
    assert chats.calls == [(7, 1, "👀")]
    chats.acknowledger.replaced(2, 3)
    await chats.end(3)
    assert chats.calls[1:] == [(7, 1, None)]


async def test_the_lease_of_the_chat_is_used_until_the_removal() -> None:
    """Otherwise the chat could be given back before it, and the reaction stay."""
    chats = Chats()
    lease = Lease(7, 1, leases.now() + 60.0)
    await chats.accept(replace(row(1), lease=lease))
    assert lease.users == 0
    chats.go_on.clear()
    await chats.end(1)
    assert lease.users == 1
    chats.go_on.set()
    await settle()
    assert lease.users == 0
    assert lease.idle.is_set()


async def test_an_end_before_the_reaction() -> None:
    """A call under way is followed by the removal; one that waits is left out."""
    chats = Chats()
    chats.go_on.clear()
    rows = [row(number) for number in range(acknowledge.MAX_CALLS + 1)]
    await chats.accept(*rows)
    await chats.end(*(each.update_id for each in rows))
    chats.go_on.set()
    await settle()

    shown = {message for _, message, emoji in chats.calls if emoji}
    removed = {message for _, message, emoji in chats.calls if not emoji}
    # a_message has the id of the update; 0 is no message.
    assert shown == removed == set(range(1, acknowledge.MAX_CALLS + 1))


@pytest.mark.parametrize(
    ("error", "removed", "again"),
    [
        (FloodWaitError(9), False, True),
        (DOWN, True, True),
        (DeliveryError("deleted", Refusal.MESSAGE), False, True),
        (DeliveryError("REACTION_INVALID"), False, False),
        (ChatGoneError("blocked"), False, False),
        (OperatorError("refused token"), False, True),
        (UnknownMethodError("Not Found"), False, True),
    ],
)
async def test_errors(error: Exception, removed: bool, again: bool) -> None:
    """What may be shown is removed; a chat that refuses is not asked again."""
    chats = Chats()
    chats.errors = [error]
    await chats.accept(row(1))
    await chats.end(1)
    assert ((7, 1, None) in chats.calls) is removed
    await chats.accept(row(2))
    assert ((7, 2, "👀") in chats.calls) is again
    assert chats.events.of_type(ErrorEvent) == []


async def test_a_server_without_reactions() -> None:
    """It is not called."""
    chats = Chats()
    chats.missing = {Method.SET_MESSAGE_REACTION}
    await chats.accept(row(1))
    assert chats.calls == []


async def test_a_removal_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again after a short flood wait or a network error, not for ever."""
    monkeypatch.setattr(acknowledge, "REMOVAL_PAUSE_SECONDS", 0.0)
    chats = Chats()
    errors = [None, FloodWaitError(0.0), DOWN, None, None, FloodWaitError(3600)]
    chats.errors = [*errors, None, DOWN, DOWN, DOWN, DOWN]
    for number in (1, 2, 3):
        await chats.accept(row(number))
        await chats.end(number)
        await settle()

    removals = [message for _, message, emoji in chats.calls if not emoji]
    assert removals == [1, 1, 1, 2, 3, 3, 3]


async def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither waiting messages nor refusing chats are kept without end."""
    monkeypatch.setattr(acknowledge, "MAX_REACTIONS", 2)
    monkeypatch.setattr(acknowledge, "MAX_REFUSING_CHATS", 1)
    chats = Chats()
    await chats.accept(row(1), row(2), row(3))
    assert len(chats.calls) == 2
    await chats.end(1, 2)

    chats.errors = [DeliveryError("no")] * 2
    await chats.accept(row(4, 1), row(5, 2))
    chats.calls.clear()
    await chats.accept(row(6, 1), row(7, 2))
    assert [chat for chat, _, _ in chats.calls] == [1]


async def test_a_bug() -> None:
    """It is counted, and nothing else happens."""
    chats = Chats()
    chats.errors = [ZeroDivisionError()]
    await chats.accept(row(1))
    await chats.end(1)
    assert len(chats.events.of_type(ErrorEvent)) == 1


async def test_close_waits_for_removals() -> None:
    """Reactions of rows that stay open are left."""
    chats = Chats()
    await chats.accept(row(1), row(2))
    chats.go_on.clear()
    chats.acknowledger.ended([1])
    closing = asyncio.create_task(chats.acknowledger.close())
    await settle()
    assert not closing.done()
    chats.go_on.set()
    await closing
    assert chats.calls[2:] == [(7, 1, None)]


def test_the_list_is_that_of_telegram() -> None:
    """python-telegram-bot has the same emoji, some with a variation selector."""
    listed = {str(each.value) for each in telegram.constants.ReactionEmoji}
    assert {each.replace(VARIATION_SELECTOR, "") for each in listed} == REACTIONS
    assert {reaction(f" {each}") for each in listed} == REACTIONS


@pytest.mark.parametrize("value", ["🐊", "eyes", "👀👀", "👀 👍", ":eyes:"])
def test_what_is_no_reaction(value: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="no reaction"):
        reaction(value)
