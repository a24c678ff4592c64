"""A reply that grows: seen early, edited within bounds, delivered whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from crocbot.errors import DeliveryError, FloodWaitError, TelegramError
from crocbot.events import DeliveryEvent, DeliveryIssue
from crocbot.model import ChatThread, MessagePart, ReconnectReason
from crocbot.reply import Delivery, SentReply, Stream
from crocbot.reply import live as stream
from crocbot.reply.live import EditSchedule, TokenBucket
from tests.crocbot.fakes import RecordedEvents

HERE = ChatThread(7)
QUICK = EditSchedule(0.01, 0.01, 1.0, 0.01)
NEVER = EditSchedule(1e6, 1e6, 1.0, 1e6)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is at once in a test need not take long."""
    monkeypatch.setattr(stream, "AT_ONCE", 0.01)


class Telegram:
    """Remembers what was shown, in order; `faults` are raised by kind of call."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.current: dict[int, str] = {}
        self.typed = 0
        self.typing_hangs = False
        self.faults: dict[str, list[Exception]] = {"send": [], "edit": [], "type": []}
        self.events = RecordedEvents()
        self.slept: list[float] = []
        self.noticed = 0
        self.changed = asyncio.Event()

    def _call(self, name: str) -> None:
        if self.faults[name]:
            raise self.faults[name].pop(0)

    def _show(self, message_id: int, piece: MessagePart) -> None:
        self.current[message_id] = piece.text
        self.seen.append(piece.text)
        self.changed.set()

    async def send_message(
        self, chat: ChatThread, piece: MessagePart, reply_to: int | None = None
    ) -> int:
        """Take a message."""
        self._call("send")
        self._show(len(self.current) + 1, piece)
        return len(self.current)

    async def edit_message(
        self, chat: ChatThread, message_id: int, piece: MessagePart
    ) -> None:
        """Change a message."""
        self._call("edit")
        self._show(message_id, piece)

    async def delete_message(self, chat: ChatThread, message_id: int) -> None:
        """Take a message back."""
        del self.current[message_id]

    async def send_typing(self, chat: ChatThread) -> None:
        """Show that somebody is typing."""
        self.typed += 1
        self.changed.set()
        self._call("type")
        if self.typing_hangs:
            await asyncio.Event().wait()

    async def sleep(self, seconds: float) -> None:
        """Remember instead of sleeping."""
        self.slept.append(seconds)

    def notice(self) -> None:
        """The first words can be seen."""
        self.noticed += 1

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until this is true."""
        while not condition():
            self.changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), 0.02)

    async def deliver(
        self, texts: AsyncIterator[str], pace: EditSchedule = QUICK
    ) -> SentReply:
        """Deliver what grows."""
        courier = Delivery(self, self.events, self.sleep)  # type: ignore[arg-type]
        shown = SentReply(HERE)
        await Stream(courier, pace, pace).deliver(
            texts, shown, markdown=True, private=True, seen=self.notice
        )
        return shown


Scene = Callable[[Telegram], Awaitable[None]]


def play(scene: Scene) -> Telegram:
    """Play a scene."""

    async def run() -> Telegram:
        telegram = Telegram()
        await scene(telegram)
        return telegram

    return asyncio.run(asyncio.wait_for(run(), 30))


def test_an_answer_at_once() -> None:
    """What is there at once is one message, without typing before it."""

    async def scene(telegram: Telegram) -> None:
        async def texts() -> AsyncIterator[str]:
            yield "all "
            yield "of it"

        await telegram.deliver(texts(), NEVER)

    telegram = play(scene)
    assert (telegram.seen, telegram.typed, telegram.noticed) == (["all of it"], 0, 1)


def test_growing() -> None:
    """The first words are shown while the rest is written, in the same message."""

    async def scene(telegram: Telegram) -> None:
        async def texts() -> AsyncIterator[str]:
            yield "**first"
            await telegram.until(lambda: bool(telegram.seen))
            yield "** second"
            await telegram.until(lambda: len(telegram.seen) > 1)
            yield " third"

        await telegram.deliver(texts())

    telegram = play(scene)
    assert telegram.seen == ["**first", "first second", "first second third"]
    assert telegram.current == {1: "first second third"}
    assert telegram.noticed == 1


def test_growing_over_the_limit() -> None:
    """A reply that grows too long for a message goes on in the next one."""

    async def scene(telegram: Telegram) -> None:
        async def texts() -> AsyncIterator[str]:
            yield "a" * 4000
            await telegram.until(lambda: bool(telegram.seen))
            yield " " + "b" * 4000
            await telegram.until(lambda: len(telegram.current) == 2)
            yield "c"

        await telegram.deliver(texts())

    telegram = play(scene)
    assert telegram.current == {1: "a" * 4000, 2: "b" * 4000 + "c"}


def test_typing_that_hangs() -> None:
    """An answer does not wait for a call that only shows that somebody types."""

    async def scene(telegram: Telegram) -> None:
        telegram.typing_hangs = True

        async def texts() -> AsyncIterator[str]:
            await telegram.until(lambda: telegram.typed >= 1)
            yield "done"

        await telegram.deliver(texts(), NEVER)

    assert play(scene).seen == ["done"]


def test_typing(monkeypatch: pytest.MonkeyPatch) -> None:
    """While there is nothing to be seen, somebody types, and a fault is no matter."""
    monkeypatch.setattr(stream, "TYPING_AGAIN", 0.01)

    async def scene(telegram: Telegram) -> None:
        telegram.faults["type"] = [FloodWaitError(9), DeliveryError("no")]

        async def texts() -> AsyncIterator[str]:
            await telegram.until(lambda: telegram.typed >= 3)
            yield "done"

        await telegram.deliver(texts(), NEVER)

    assert play(scene).seen == ["done"]


@pytest.mark.parametrize(
    "fault",
    [
        FloodWaitError(7),
        DeliveryError("no"),
        TelegramError("down", ReconnectReason.NETWORK),
    ],
)
def test_an_edit_that_fails(fault: Exception) -> None:
    """Whatever becomes of the edits, the whole reply arrives."""

    async def scene(telegram: Telegram) -> None:
        telegram.faults["edit"] = [fault]

        async def texts() -> AsyncIterator[str]:
            yield "first"
            await telegram.until(lambda: bool(telegram.seen))
            yield " second"
            await telegram.until(lambda: not telegram.faults["edit"])

        await telegram.deliver(texts())

    telegram = play(scene)
    assert telegram.current[max(telegram.current)] == "first second"
    assert DeliveryEvent(DeliveryIssue.EDIT_LOST) in telegram.events
    # What Telegram asked for is waited out before the reply is completed.
    waited = 7 if isinstance(fault, FloodWaitError) else 0
    assert sum(telegram.slept) == pytest.approx(waited, abs=1)


def test_nothing() -> None:
    """An answer that never came shows nothing."""

    async def scene(telegram: Telegram) -> None:
        async def texts() -> AsyncIterator[str]:
            for text in ():
                yield text

        shown = await telegram.deliver(texts())
        assert shown.messages == []

    telegram = play(scene)
    assert (telegram.seen, telegram.noticed) == ([], 0)


def test_cancelled() -> None:
    """Whoever is stopped sends nothing more."""

    async def scene(telegram: Telegram) -> None:
        async def texts() -> AsyncIterator[str]:
            yield "first"
            await asyncio.Event().wait()

        delivering = asyncio.create_task(telegram.deliver(texts()))
        await telegram.until(lambda: bool(telegram.seen))
        delivering.cancel()
        await asyncio.wait([delivering])
        assert delivering.cancelled()
        assert len(asyncio.all_tasks()) <= 2

    assert play(scene).seen == ["first"]


def test_a_bug_ends_the_tasks_beside() -> None:
    """What the answer raises goes through, and nothing is left running."""

    async def scene(telegram: Telegram) -> None:
        async def texts() -> AsyncIterator[str]:
            yield "first"
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await telegram.deliver(texts(), NEVER)
        assert len(asyncio.all_tasks()) <= 2

    assert play(scene).seen == []


def test_budget() -> None:
    """All chats together edit so often at most; what is not used is saved a second."""
    now = [0.0]
    budget = TokenBucket(lambda: now[0], per_second=2.0)
    first = [budget.take() for _ in range(4)]
    now[0] = 0.5
    second = [budget.take() for _ in range(2)]
    now[0] = 60.0
    third = [budget.take() for _ in range(4)]

    assert first == [True, True, False, False]
    assert second == [True, False]
    assert third == [True, True, False, False]
