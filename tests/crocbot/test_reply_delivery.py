"""Delivery of replies: every part arrives, whatever Telegram does."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot.content import Entity
from crocbot.delivery_outcomes import DeliveryIssue
from crocbot.errors import (
    ChatGoneError,
    DeliveryError,
    FloodWaitError,
    Refusal,
    TelegramError,
)
from crocbot.events import DeliveryEvent, FirstText
from crocbot.model import (
    ChatThread,
    ErrorEvent,
    ErrorType,
    MessagePart,
    ReconnectReason,
    Reply,
    Severity,
)
from crocbot.reply import Delivery
from crocbot.reply.delivery import MAX_WAIT_SECONDS
from crocbot.reply.split import split
from crocbot.text import MAX_MESSAGE_UNITS
from tests.crocbot.fakes import FakeTelegram, RecordedEvents

CHAT = ChatThread(7, 4)
NO_THREAD = ChatThread(7)
DOWN = TelegramError("down", ReconnectReason.NETWORK)
SLOW = TelegramError("slow", ReconnectReason.TIMEOUT)
NO = DeliveryError("no")
THREAD = DeliveryError("thread", Refusal.THREAD)
QUOTE = DeliveryError("quote", Refusal.QUOTE)
FORMATTING = DeliveryError("formatting", Refusal.FORMATTING)
LENGTH = DeliveryError("length", Refusal.LENGTH)
GONE_MESSAGE = DeliveryError("message", Refusal.MESSAGE)
PLAIN_TEXT = DeliveryIssue.PLAIN_TEXT
WITHOUT_QUOTE = DeliveryIssue.WITHOUT_QUOTE
WITHOUT_THREAD = DeliveryIssue.WITHOUT_THREAD


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
        )
        self.progress = delivery.start(CHAT, **options)

    async def deliver(self, text: str) -> None:
        """Deliver a reply in Markdown, without jitter."""
        await self.progress.deliver(Reply(text, markdown=True))
        assert {chat.chat_id for chat in self.chats} == {CHAT.chat_id}

    @property
    def issues(self) -> list[DeliveryIssue]:
        """Return the issues that were reported."""
        return [event.issue for event in self.events.of_type(DeliveryEvent)]


async def test_parts_are_sent_in_order() -> None:
    """A long reply is several messages, of which the first one quotes."""
    scene = DeliveryFixture(quote=3)
    await scene.deliver("a" * MAX_MESSAGE_UNITS + "b" * MAX_MESSAGE_UNITS + "c")

    assert [text[0] for text in scene.texts] == ["a", "b", "c"]
    assert scene.quotes == [3, None, None]
    assert scene.events == []


async def test_first_text_is_reported_once() -> None:
    """The time to the first visible text is reported for a reply to a message."""
    scene = DeliveryFixture(accepted_at=97.5)
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


@pytest.mark.parametrize("text", ["hello", "**bold**"])
async def test_a_chat_that_is_gone(text: str) -> None:
    """A call to a chat that is gone is not retried in any form."""
    scene = DeliveryFixture(ChatGoneError("blocked"), quote=3)
    with pytest.raises(ChatGoneError):
        await scene.deliver(text)

    assert (scene.calls, scene.slept) == (["send"], [])
    assert scene.events == [DeliveryEvent(DeliveryIssue.BLOCKED)]


@pytest.mark.parametrize(
    ("errors", "chat", "quote", "issues"),
    [
        ([THREAD], NO_THREAD, 3, [WITHOUT_THREAD]),
        ([THREAD, THREAD], NO_THREAD, None, [WITHOUT_THREAD, WITHOUT_QUOTE]),
        ([QUOTE], CHAT, None, [WITHOUT_QUOTE]),
        ([GONE_MESSAGE], CHAT, None, [WITHOUT_QUOTE]),
        ([QUOTE, THREAD], NO_THREAD, None, [WITHOUT_THREAD, WITHOUT_QUOTE]),
        ([THREAD, QUOTE], NO_THREAD, None, [WITHOUT_THREAD, WITHOUT_QUOTE]),
        # Words that are not known: without the quote, then also without the topic.
        ([NO], CHAT, None, [WITHOUT_QUOTE]),
        ([NO, NO], NO_THREAD, None, [WITHOUT_THREAD, WITHOUT_QUOTE]),
        # A network error in between changes nothing.
        ([THREAD, DOWN, THREAD], NO_THREAD, 3, [WITHOUT_THREAD]),
    ],
)
async def test_a_topic_or_a_quote_that_is_refused(
    errors: list[Exception],
    chat: ChatThread,
    quote: int | None,
    issues: list[DeliveryIssue],
) -> None:
    """A message is sent without the topic or the quote that Telegram refuses."""
    scene = DeliveryFixture(*errors, quote=3)
    await scene.deliver("hello")

    assert (scene.texts, scene.quotes) == (["hello"], [quote])
    assert scene.progress.chat == chat
    assert [each for each in scene.issues if each != DeliveryIssue.RETRIED] == issues


async def test_the_rest_of_a_reply_without_its_topic() -> None:
    """All parts of a reply go where the first one was accepted."""
    scene = DeliveryFixture(THREAD)
    await scene.deliver("a" * MAX_MESSAGE_UNITS + "b")

    assert scene.calls == ["send"] * 3
    assert scene.issues == [WITHOUT_THREAD]


@pytest.mark.parametrize("error", [FORMATTING, NO])
async def test_formatting_that_is_refused(error: Exception) -> None:
    """A part whose formatting is refused is sent as it looks, without formatting."""
    scene = DeliveryFixture(error)
    await scene.deliver("**bold** and [a link](https://x.y)")

    assert list(scene.messages.values()) == [MessagePart("bold and a link")]
    assert scene.issues == [PLAIN_TEXT]


async def test_formatting_was_not_the_trouble() -> None:
    """A text that is refused without formatting too keeps it, and is not counted."""
    scene = DeliveryFixture(NO, NO, quote=3)
    await scene.deliver("**bold**")

    assert list(scene.messages.values()) == [
        MessagePart("bold", (Entity("bold", 0, 4),))
    ]
    assert scene.issues == [WITHOUT_QUOTE]


async def test_a_reply_that_is_refused_in_every_form() -> None:
    """A reply that is refused in every form is handed back, with the first refusal."""
    scene = DeliveryFixture(NO, *[DeliveryError("still no")] * 9, quote=3)
    with pytest.raises(DeliveryError, match=r"^no$") as raised:
        await scene.deliver("**bold**")

    assert raised.value.undelivered == Reply("**bold**", markdown=True)
    assert scene.calls == ["send"] * 5
    assert scene.issues == [DeliveryIssue.REFUSED]


async def test_a_length_that_is_refused() -> None:
    """A server that accepts only shorter messages gets the whole reply in more."""
    scene = DeliveryFixture(LENGTH, LENGTH)
    await scene.deliver("a" * 3000)

    assert [len(text) for text in scene.texts] == [1024, 1024, 952]


async def test_a_length_that_is_always_refused() -> None:
    """A server that refuses every length ends the delivery."""
    scene = DeliveryFixture(*[LENGTH] * 9)
    with pytest.raises(DeliveryError):
        await scene.deliver("a" * 3000)

    assert scene.calls == ["send"] * 4


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


@pytest.mark.parametrize("error", [GONE_MESSAGE, NO, QUOTE])
async def test_a_message_that_cannot_be_edited(error: Exception) -> None:
    """It and those after it are sent anew, with formatting; old ones are deleted."""
    scene = DeliveryFixture()
    await scene.deliver(
        "a" * MAX_MESSAGE_UNITS + "half" + "\n\n" + "c" * MAX_MESSAGE_UNITS
    )
    scene.errors["edit"] = [error]
    await scene.deliver("a" * MAX_MESSAGE_UNITS + "**half** and the rest")

    assert list(scene.messages.values()) == [
        MessagePart("a" * MAX_MESSAGE_UNITS),
        MessagePart("half and the rest", (Entity("bold", 0, 4),)),
    ]
    assert scene.calls == ["send"] * 3 + ["edit", "send", "delete", "delete"]
    assert scene.issues == [DeliveryIssue.EDIT_LOST]


async def test_an_edit_whose_formatting_is_refused() -> None:
    """An edit whose formatting is refused shows the text without formatting."""
    scene = DeliveryFixture()
    await scene.deliver("half")
    scene.errors["edit"] = [FORMATTING]
    await scene.deliver("**half** and the rest")

    assert list(scene.messages.values()) == [MessagePart("half and the rest")]
    assert scene.calls == ["send", "edit", "edit"]
    # Each part is counted once, however often it is edited.
    scene.errors["edit"] = [FORMATTING]
    await scene.deliver("**half** and the rest of it")
    assert scene.issues == [PLAIN_TEXT]


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


ERRORS = st.sampled_from(
    [DOWN, FloodWaitError(1.0), NO, THREAD, QUOTE, FORMATTING, GONE_MESSAGE, None]
)
TEXT = "**One** two\n\n" + "three " * 800 + "\n\n`four` [five](https://x.y)"


@given(
    st.lists(st.integers(1, len(TEXT)), max_size=4),
    st.fixed_dictionaries(
        {name: st.lists(ERRORS, max_size=6) for name in ("send", "edit", "delete")}
    ),
)
async def test_whatever_telegram_refuses(
    ends: list[int], errors: dict[str, list[Exception | None]]
) -> None:
    """A reply that grew is shown whole and once, or is handed back with the error."""
    scene = DeliveryFixture(quote=3)
    scene.errors = errors  # type: ignore[assignment]
    for end in sorted(ends):
        with suppress(DeliveryError, TelegramError, FloodWaitError):
            for index, part in enumerate(split(Reply(TEXT[:end], markdown=True))):
                await scene.progress.show_part(index, part)
    try:
        await scene.deliver(TEXT)
    except DeliveryError as error:
        assert error.undelivered == Reply(TEXT, markdown=True)
        return

    whole = [part.text for part in split(Reply(TEXT, markdown=True))]
    # Besides messages that Telegram did not delete.
    shown = iter(scene.texts)
    assert all(text in shown for text in whole)
    lost = scene.issues.count(DeliveryIssue.EDIT_LOST)
    assert len(scene.texts) <= len(whole) + lost
