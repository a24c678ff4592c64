"""Delivery of replies: every part arrives, whatever Telegram does."""

from __future__ import annotations

from typing import Any

import pytest

from crocbot.errors import (
    ChatGoneError,
    DeliveryError,
    FloodWaitError,
    TelegramError,
)
from crocbot.events import DeliveryEvent, DeliveryIssue, FirstText
from crocbot.model import (
    ChatThread,
    Entity,
    ErrorEvent,
    ErrorType,
    MessagePart,
    ReconnectReason,
    Reply,
    Severity,
)
from crocbot.reply import Delivery
from crocbot.reply.delivery import MAX_WAIT_SECONDS
from crocbot.text import MAX_MESSAGE_UNITS
from tests.crocbot.fakes import FakeTelegram, RecordedEvents

CHAT = ChatThread(7, 4)
DOWN = TelegramError("down", ReconnectReason.NETWORK)
SLOW = TelegramError("slow", ReconnectReason.TIMEOUT)
NO = DeliveryError("no")


class DeliveryFixture(FakeTelegram):
    """A chat to deliver to, in which the first calls may fail."""

    def __init__(self, *errors: Exception, **options: Any) -> None:
        super().__init__()
        self.errors["send"] = list(errors)
        self.events = RecordedEvents()
        delivery = Delivery(
            client=self,  # type: ignore[arg-type]
            events=self.events,
            sleep=self.sleep,
            random=lambda: 0.5,
            clock=lambda: 100.0,
            wall_clock=lambda: 12.5,
        )
        self.progress = delivery.start(CHAT, **options)

    async def deliver(self, text: str) -> None:
        """Deliver a reply in Markdown, without jitter."""
        await self.progress.deliver(Reply(text, markdown=True))
        assert self.chats == {CHAT}


async def test_parts_are_sent_in_order() -> None:
    """A long reply is several messages, of which the first one quotes."""
    scene = DeliveryFixture(quote=3)
    await scene.deliver("a" * MAX_MESSAGE_UNITS + "b" * MAX_MESSAGE_UNITS + "c")

    assert [text[0] for text in scene.texts] == ["a", "b", "c"]
    assert scene.quotes == [3, None, None]
    assert scene.events == []


async def test_first_text_is_reported_once() -> None:
    """The time to the first visible text is reported for a reply to a message."""
    scene = DeliveryFixture(accepted_at=10.0)
    await scene.deliver("a" * MAX_MESSAGE_UNITS + "b")

    assert scene.events == [FirstText(2.5)]


async def test_flood_wait() -> None:
    """A flood wait is waited out, and is not an error."""
    scene = DeliveryFixture(FloodWaitError(35.0))
    await scene.deliver("hello")

    assert (scene.texts, scene.slept) == (["hello"], [35.0])
    assert scene.events == [DeliveryEvent(DeliveryIssue.RETRIED)]


async def test_network_errors() -> None:
    """Network errors are reported, and retried after growing pauses."""
    scene = DeliveryFixture(DOWN, SLOW, DOWN)
    await scene.deliver("hello")

    assert (scene.texts, scene.slept) == (["hello"], [1.0, 2.0, 4.0])
    assert scene.events.of_type(ErrorEvent) == [
        ErrorEvent(ErrorType.NETWORK, Severity.WARNING),
        ErrorEvent(ErrorType.TIMEOUT, Severity.WARNING),
        ErrorEvent(ErrorType.NETWORK, Severity.WARNING),
    ]


@pytest.mark.parametrize("error", [DOWN, FloodWaitError(60.0), FloodWaitError(1e6)])
async def test_waiting_is_bounded(error: Exception) -> None:
    """A reply that cannot be delivered for an hour is given up, and handed back."""
    scene = DeliveryFixture(*[error] * 1000)
    with pytest.raises(DeliveryError) as raised:
        await scene.deliver("hello")

    assert raised.value.undelivered == Reply("hello", markdown=True)
    assert scene.texts == []
    assert sum(scene.slept) <= MAX_WAIT_SECONDS
    assert scene.events[-1] == DeliveryEvent(DeliveryIssue.GAVE_UP)


async def test_the_longest_wait() -> None:
    """A wait of exactly the time that is left is waited out."""
    scene = DeliveryFixture(FloodWaitError(MAX_WAIT_SECONDS))
    await scene.deliver("hello")

    assert (scene.texts, scene.slept) == (["hello"], [MAX_WAIT_SECONDS])


@pytest.mark.parametrize(
    ("text", "error", "issue"),
    [
        ("hello", NO, DeliveryIssue.REFUSED),
        ("hello", ChatGoneError("blocked"), DeliveryIssue.BLOCKED),
        ("**bold**", ChatGoneError("blocked"), DeliveryIssue.BLOCKED),
    ],
)
async def test_a_refusal_is_final(
    text: str, error: Exception, issue: DeliveryIssue
) -> None:
    """A call that Telegram refuses is not retried."""
    scene = DeliveryFixture(error)
    with pytest.raises(DeliveryError):
        await scene.deliver(text)

    assert (scene.calls, scene.slept) == (["send"], [])
    assert scene.events == [DeliveryEvent(issue)]


async def test_formatting_that_is_refused() -> None:
    """The text arrives as it was written if its formatting is refused."""
    text = "**bold** and [a link](https://x.y)"
    scene = DeliveryFixture(NO)
    await scene.deliver(text)

    assert scene.texts == [text]
    assert scene.events == [DeliveryEvent(DeliveryIssue.PLAIN_TEXT)]


async def test_text_that_is_refused_without_formatting_too() -> None:
    """A reply that is refused in both forms is handed back as it was."""
    scene = DeliveryFixture(NO, NO)
    with pytest.raises(DeliveryError) as raised:
        await scene.deliver("**bold**")

    assert raised.value.undelivered == Reply("**bold**", markdown=True)


async def test_sent_messages_are_edited() -> None:
    """Messages that were sent are corrected, and surplus ones deleted."""
    scene = DeliveryFixture()
    await scene.deliver("a" * MAX_MESSAGE_UNITS + "b" * MAX_MESSAGE_UNITS + "c")
    await scene.deliver("a" * MAX_MESSAGE_UNITS + "**d**")
    await scene.deliver("a" * MAX_MESSAGE_UNITS + "**d**")

    assert scene.calls == ["send"] * 3 + ["edit", "delete"]
    assert list(scene.messages.values()) == [
        MessagePart("a" * MAX_MESSAGE_UNITS),
        MessagePart("d", (Entity("bold", 0, 1),)),
    ]
    assert len(scene.progress.messages) == 2


async def test_a_message_that_cannot_be_edited() -> None:
    """A reply whose message was deleted in the chat is sent as a new one."""
    scene = DeliveryFixture()
    await scene.deliver("half")
    scene.errors["edit"] = [NO]
    await scene.deliver("half of it, and the rest")

    assert scene.texts == ["half", "half of it, and the rest"]


async def test_a_known_flood_wait() -> None:
    """A flood wait that began during live edits is waited out first."""
    scene = DeliveryFixture()
    scene.progress.postpone(12.0)
    await scene.deliver("hello")

    assert (scene.slept, scene.texts) == ([12.0], ["hello"])


async def test_a_surplus_message_that_cannot_be_deleted() -> None:
    """A surplus message that stays does not fail the delivery."""
    scene = DeliveryFixture()
    await scene.deliver("a" * MAX_MESSAGE_UNITS + "b")
    scene.errors["delete"] = [NO]
    await scene.deliver("a" * MAX_MESSAGE_UNITS)

    assert scene.events == [DeliveryEvent(DeliveryIssue.EDIT_LOST)]
