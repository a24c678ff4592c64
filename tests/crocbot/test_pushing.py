"""Pushed messages that cannot be sent at once: retries, rests, their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from crocbot import pushed
from crocbot.delivery_outcomes import DeliveryIssue, PushState
from crocbot.errors import DeliveryError, FloodWaitError, TelegramError
from crocbot.events import DeliveryEvent
from crocbot.log import Redactor
from crocbot.model import ReconnectReason
from crocbot.outgoing import SentSteps
from crocbot.pushed import PushedMessages, sql
from crocbot.pushing import MAX_AGE_SECONDS, Pushing
from crocbot.reply import ChatOrder, Delivery
from crocbot.store import Store
from tests.crocbot.databases import Database
from tests.crocbot.fakes import Clock, FakeClocks, FakeTelegram, RecordedEvents

TIMEOUT = TelegramError("no answer", ReconnectReason.TIMEOUT)


class Moves:
    """Group -5 has become supergroup -1005."""

    def latest(self, chat: int) -> int:
        return {-5: -1005}.get(chat, chat)


class Sender:
    """A running Pushing with a chat, whose clock a test sets."""

    def __init__(self, store: Store, clocks: FakeClocks) -> None:
        self.telegram, self.events = FakeTelegram(), RecordedEvents()
        self.store, self.messages = store, PushedMessages(store)
        self.clocks, self.clock = clocks, Clock()
        self.order = ChatOrder()
        delivery: Any = Delivery(
            client=self.telegram,  # type: ignore[arg-type]
            events=self.events,
            keeper=self.messages,
            sleep=self.telegram.sleep,
            random=lambda: 0.5,
            clock=self.clock,
        )
        self.pushing = Pushing(
            messages=self.messages,
            delivery=delivery,
            order=self.order,
            moves=Moves(),  # type: ignore[arg-type]
            events=self.events,
            redactor=Redactor(["a-secret"]),
        )

    async def add(self, text: str, chat: int = 7) -> int:
        """Store a message."""
        return await self.messages.add(pushed.new_message(chat, text))

    async def wait(self, **rows: int) -> None:
        """Wait until there are that many rows by state."""
        expected = {PushState(state): count for state, count in rows.items()}
        async with asyncio.timeout(30):
            while not expected.items() <= (await self.messages.state()).rows.items():
                await asyncio.sleep(0.01)

    async def wait_calls(self, count: int) -> None:
        """Wait until there were that many calls."""
        await self.telegram.until(lambda: len(self.telegram.calls) >= count)

    async def look_again(self) -> None:
        """Let it look for rows that may be sent, twice."""
        for _ in range(2):
            self.messages.added.set()
            await asyncio.sleep(0.05)


@pytest.fixture
async def sender(database: Database) -> AsyncIterator[Sender]:
    """Run a Pushing."""
    clocks = FakeClocks()
    store = database.store([pushed.SCHEMA], clocks)
    async with store:
        sender = Sender(store, clocks)
        task = asyncio.create_task(sender.pushing.run())
        yield sender
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await sender.pushing.drain(1)


async def test_it_rests_and_goes_on(sender: Sender) -> None:
    """After a minute of failures answers of the chat go on; later it is sent."""
    sender.telegram.errors["send"] = [TIMEOUT] * 7
    await sender.add("late")
    await sender.wait_calls(6)
    await sender.look_again()
    calls = len(sender.telegram.calls)
    assert sum(sender.telegram.slept) <= 60
    # An answer does not wait for the rest.
    await asyncio.wait_for(sender.order.answer(7).take(), 60)
    sender.order.end_answer(7)
    await sender.look_again()
    assert len(sender.telegram.calls) == calls
    assert (await sender.messages.state()).rows[PushState.OPEN] == 1

    await sender.add("another chat", 8)
    await sender.wait(sent=1)
    sender.clock.now += 700
    await sender.look_again()
    await sender.wait(sent=2)
    assert "late" in sender.telegram.texts


async def test_a_long_flood_wait(sender: Sender) -> None:
    """It rests at least as long as Telegram asks."""
    sender.telegram.errors["send"] = [FloodWaitError(3000)]
    await sender.add("later")
    await sender.wait_calls(1)
    sender.clock.now += 2000
    await sender.look_again()
    assert len(sender.telegram.calls) == 1
    sender.clock.now += 1001
    await sender.look_again()
    await sender.wait(sent=1)


async def test_a_day(sender: Sender) -> None:
    """Then it has failed, and the next one is sent."""
    sender.telegram.errors["send"] = [FloodWaitError(100)]
    await sender.add("old")
    await sender.wait_calls(1)
    sender.clocks.run(MAX_AGE_SECONDS)
    sender.clock.now += 1000
    sender.telegram.errors["send"] = [FloodWaitError(100)]
    await sender.add("new")
    await sender.look_again()
    await sender.wait(failed=1, sent=1)
    assert sender.telegram.texts == ["new"]


async def test_a_refusal(sender: Sender) -> None:
    """Its reason has no secret."""
    sender.telegram.errors["send"] = [DeliveryError("no a-secret here")] * 9
    await sender.add("hi")
    await sender.wait(failed=1)
    lines = await sender.store.run(partial(sql.listed, limit=10))
    assert [each.reason for each in lines] == ["no [redacted] here"]


async def test_a_part_that_may_have_arrived(sender: Sender) -> None:
    """What was sent before a crash is not sent again; what was under way is."""
    text = "\n\n".join("x" * 3000 + str(number) for number in range(3))
    telegram = sender.telegram
    sender.telegram.errors["send"] = [None, TelegramError("x", ReconnectReason.TIMEOUT)]
    sender.telegram.errors["send"] += [FloodWaitError(500)]
    await sender.add(text)
    await sender.wait_calls(3)
    await sender.look_again()
    assert len(telegram.texts) == 1
    sender.clock.now += 1000
    await sender.look_again()
    await sender.wait(sent=1)
    assert [part[-1] for part in telegram.texts] == ["0", "1", "2"]
    issues = [each.issue for each in sender.events.of_type(DeliveryEvent)]
    assert DeliveryIssue.REPEATED in issues


async def test_a_group_that_moved(sender: Sender) -> None:
    """It gets its messages under its new id."""
    await sender.add("hi", -5)
    await sender.wait(sent=1)
    assert {chat.chat_id for chat in sender.telegram.chats} == {-1005}


async def test_steps_are_kept(sender: Sender) -> None:
    """A row that is loaded has the steps that were recorded."""
    sender.telegram.errors["send"] = [FloodWaitError(500)]
    push_id = await sender.add("hi")
    await sender.wait_calls(1)
    await sender.look_again()
    push = await sender.messages.load(push_id)
    assert push is not None
    assert push.sent == SentSteps(unknown=True)
