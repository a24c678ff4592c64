"""A reply as a rich message: sent once, edited, refused, or not known to be sent."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from crocbot import classic_forms, leases
from crocbot.classic_forms import ClassicForms, SendState
from crocbot.content import Context, Press
from crocbot.delivery_outcomes import RichOutcome
from crocbot.errors import (
    ChatGoneError,
    DeliveryError,
    FloodWaitError,
    GaveUpError,
    NotConnectedError,
    StoreError,
    TelegramError,
    UnknownMethodError,
)
from crocbot.events import FirstText, RichMessage
from crocbot.leases import Lease
from crocbot.model import ChatThread, MessagePart, ReconnectReason, Reply
from crocbot.outgoing import Buttons
from crocbot.reply import Delivery, ReplyProgress, RichDelivery
from crocbot.reply.rich_delivery import NOT_KEPT, UNCONFIRMED, classic_button
from crocbot.store import Store
from tests.crocbot.databases import Database
from tests.crocbot.fakes import FakeTelegram, RecordedEvents, a_message

TABLE = Reply("| a | b |\n|---|---|\n| 1 | 2 |", markdown=True)
LOST = TelegramError("no answer within 15 s", ReconnectReason.TIMEOUT)
DOWN = NotConnectedError("refused", ReconnectReason.NETWORK)
REFUSED = DeliveryError("RICH_MESSAGE_INVALID")


class RichFixture(FakeTelegram):
    """A chat, the store, and what was sent as rich messages."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.events = RecordedEvents()
        self.delivery = Delivery(
            client=self,  # type: ignore[arg-type]
            events=self.events,
            sleep=self.sleep,
        )
        self.forms = ClassicForms(store)
        self.rich = RichDelivery(
            enabled=True,
            calls=self,  # type: ignore[arg-type]
            forms=self.forms,
            events=self.events,
        )
        self.sent_rich: list[tuple[str, Buttons]] = []
        self.edited_rich: list[tuple[int, str]] = []
        self.progress = self.start()

    def start(self, wait_seconds: float = 100.0) -> ReplyProgress:
        self.progress = self.delivery.start(
            ChatThread(7), accepted_at=0.0, wait_seconds=wait_seconds
        )
        return self.progress

    @property
    def outcomes(self) -> list[RichOutcome]:
        return [event.outcome for event in self.events.of_type(RichMessage)]

    async def send_rich(
        self, chat: ChatThread, markdown: str, buttons: Buttons, reply_to: int | None
    ) -> int:
        self._call("rich", chat)
        self.sent_rich.append((markdown, buttons))
        return 99

    async def edit_rich(
        self, chat: ChatThread, message_id: int, markdown: str, buttons: Buttons
    ) -> None:
        self._call("edit rich", chat)
        self.edited_rich.append((message_id, markdown))

    async def deliver(self, reply: Reply = TABLE, update_id: int = 5) -> bool:
        return await self.rich.deliver(reply, self.progress, update_id)


@pytest.fixture
async def chat(database: Database) -> Iterator[RichFixture]:
    """Return a chat with a store."""
    async with database.store([classic_forms.SCHEMA]) as store:
        yield RichFixture(store)


async def test_sent(chat: RichFixture) -> None:
    """It is one call, and its text is kept for the button."""
    assert await chat.deliver()
    assert chat.sent_rich == [(TABLE.text, classic_button(5))]
    assert chat.outcomes == [RichOutcome.SENT]
    assert await chat.forms.state(5) is SendState.SENT
    assert await chat.forms.text(5, 7) == TABLE.text
    assert await chat.forms.text(5, 8) is None
    assert len(chat.events.of_type(FirstText)) == 1
    assert await chat.rich.resume(a_message(update_id=5), chat.start())
    # A new message may have the id of an old one.
    new = a_message(update_id=5, accepted_at=time.monotonic() + 1)
    assert not await chat.rich.resume(new, chat.start())
    # But another replica may have sent it while this one ran.
    lease = Lease(7, 1, leases.now() + 60.0)
    with leases.working_under(lease):
        assert await chat.rich.resume(new, chat.start())
        # Unless it was known when the turn began that none has.
        lease.unsent = frozenset({5})
        assert not await chat.rich.resume(new, chat.start())
    assert chat.calls == ["rich"]


@pytest.mark.parametrize(
    "reply",
    [
        Reply("plain", markdown=True),
        Reply(TABLE.text),
        Reply(TABLE.text, markdown=True, buttons=classic_button(1)),
        Reply("x" * 40_000, markdown=True),
    ],
)
async def test_what_is_not_rich(chat: RichFixture, reply: Reply) -> None:
    """Nothing is called or kept."""
    assert not await chat.deliver(reply)
    assert (chat.calls, chat.outcomes) == ([], [])


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (REFUSED, RichOutcome.REFUSED),
        (UnknownMethodError("Not Found"), RichOutcome.UNSUPPORTED),
        (DOWN, RichOutcome.NOT_SENT),
    ],
)
async def test_not_sent(
    chat: RichFixture, error: Exception, outcome: RichOutcome
) -> None:
    """The caller sends the classic form; nothing is left for the button."""
    chat.errors["rich"] = [error]
    chat.progress.draft_text = "so far"
    assert not await chat.deliver()
    assert chat.outcomes == [outcome]
    assert await chat.forms.state(5) is None
    assert chat.rich.enabled is (outcome is not RichOutcome.UNSUPPORTED)


async def test_given_up(chat: RichFixture) -> None:
    """After three refusals in a row no reply is tried, and the log says so once."""
    errors: list[Exception | None] = [REFUSED, REFUSED, None, *[REFUSED] * 9]
    chat.errors["rich"] = errors  # type: ignore[assignment]
    with capture_logs() as logs:
        for number in range(12):
            chat.start()
            await chat.deliver(update_id=number)

    assert chat.calls.count("rich") == 6
    assert len([line for line in logs if "are refused" in line["event"]]) == 1


async def test_unknown(chat: RichFixture) -> None:
    """It is not sent again: a sentence has the button, now and after a crash."""
    chat.errors["rich"] = [LOST]
    assert await chat.deliver()
    assert (chat.calls, chat.texts) == (["rich", "send"], [UNCONFIRMED])
    part: MessagePart = chat.messages[1]
    assert part.buttons == classic_button(5)

    assert await chat.rich.resume(a_message(update_id=5), chat.start())
    assert chat.texts == [UNCONFIRMED] * 2
    assert chat.outcomes == [RichOutcome.UNKNOWN] * 2
    assert not await chat.rich.resume(a_message(update_id=6), chat.start())


async def test_a_flood_wait(chat: RichFixture) -> None:
    """It is waited out; beyond the waiting time the reply is kept for a retry."""
    chat.errors["rich"] = [FloodWaitError(7)]
    assert await chat.deliver()
    assert (chat.slept, len(chat.sent_rich)) == ([7], 1)

    chat.errors["rich"] = [FloodWaitError(7)]
    chat.start(wait_seconds=1.0).draft_text = "so far"
    with pytest.raises(GaveUpError) as raised:
        await chat.deliver(update_id=6)
    assert raised.value.undelivered == TABLE
    assert chat.progress.draft_text == "so far"
    assert await chat.forms.state(6) is None


async def test_a_chat_that_is_gone(chat: RichFixture) -> None:
    """The error passes through."""
    chat.errors["rich"] = [ChatGoneError("blocked")]
    with pytest.raises(ChatGoneError) as raised:
        await chat.deliver()
    assert raised.value.undelivered is None


async def test_a_reply_that_has_grown(chat: RichFixture) -> None:
    """Its first message becomes the rich one, the others are deleted."""
    for index, text in enumerate(["one", "two"]):
        await chat.progress.show_part(index, MessagePart(text))
    assert await chat.deliver()
    assert chat.edited_rich == [(1, TABLE.text)]
    assert chat.texts == ["one"]
    assert chat.sent_rich == []


async def test_an_edit_without_an_answer(chat: RichFixture) -> None:
    """An edit can be repeated, so the classic form takes its place."""
    await chat.progress.show_part(0, MessagePart("one"))
    chat.errors["edit rich"] = [LOST]
    assert not await chat.deliver()
    assert chat.outcomes == [RichOutcome.NOT_SENT]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("crocbot:classic:5", TABLE.text),
        ("crocbot:classic:6", NOT_KEPT),
        (f"crocbot:classic:{'9' * 30}", NOT_KEPT),
        ("crocbot:", NOT_KEPT),
        ("yes", None),
    ],
)
async def test_presses(chat: RichFixture, data: str, text: str | None) -> None:
    """The classic form takes the place of the message; other data is not ours."""
    await chat.deliver()
    press = Context(press=Press("q", data, None))
    reply = await chat.rich.classic(a_message(data, context=press), chat.start())
    assert (reply and reply.text) == text
    assert chat.progress.message_ids == ([3] if text == TABLE.text else [])
    no_press = await chat.rich.classic(a_message("hi"), chat.progress)
    assert no_press is None


async def test_a_store_that_fails(
    chat: RichFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a kept text the classic form is sent; later errors lose nothing."""

    async def fail(*_: object) -> None:
        raise StoreError("disk full")

    monkeypatch.setattr(ClassicForms, "begin", fail)
    assert not await chat.deliver()
    monkeypatch.undo()
    monkeypatch.setattr(ClassicForms, "sent", fail)
    monkeypatch.setattr(ClassicForms, "remove", fail)
    monkeypatch.setattr(ClassicForms, "state", fail)
    assert await chat.deliver()
    chat.errors["rich"] = [REFUSED]
    assert not await chat.deliver()
    assert not await chat.rich.resume(a_message(update_id=5), chat.start())


async def test_kept_texts_are_bounded(
    chat: RichFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest are deleted, by number and by bytes."""
    monkeypatch.setattr(classic_forms, "MAX_TEXTS", 3)
    for number in range(5):
        await chat.forms.begin(number, 7, "text")
    kept = [await chat.forms.text(number, 7) for number in range(5)]
    assert kept == [None, None, "text", "text", "text"]

    small = ClassicForms(chat.forms._store, max_bytes=10)  # noqa: SLF001
    await small.begin(9, 7, "🐊" * 3)
    await small.begin(10, 7, "\ud800 half")
    assert [await small.text(number, 7) for number in (4, 9, 10)] == [
        None,
        None,
        "\ufffd half",
    ]
