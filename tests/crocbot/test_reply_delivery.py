"""Delivering replies: every piece arrives, whatever Telegram does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from crocbot.errors import (
    ChatGoneError,
    DeliveryError,
    FloodWaitError,
    TelegramError,
)
from crocbot.events import DeliveryEvent, DeliveryIssue
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
from crocbot.reply import Delivery, SentReply
from crocbot.reply.delivery import PATIENCE
from crocbot.reply.split import LIMIT
from tests.crocbot.fakes import RecordedEvents

HERE = ChatThread(7, 4)
DOWN = TelegramError("down", ReconnectReason.NETWORK)
SLOW = TelegramError("slow", ReconnectReason.TIMEOUT)
NO = DeliveryError("no")
BOLD = (Entity("bold", 0, 1),)


class Telegram:
    """Takes messages; first raises what it was given, one fault a call."""

    def __init__(self, faults: Sequence[Exception] = ()) -> None:
        self.faults = list(faults)
        self.messages: dict[int, MessagePart] = {}
        self.calls: list[str] = []
        self.quoted: list[int | None] = []
        self.slept: list[float] = []
        self.events = RecordedEvents()

    def _call(self, name: str, chat: ChatThread) -> None:
        assert chat == HERE
        if self.faults:
            raise self.faults.pop(0)
        self.calls.append(name)

    async def send_message(
        self, chat: ChatThread, piece: MessagePart, reply_to: int | None = None
    ) -> int:
        """Take a message, or fail as planned."""
        self._call("send", chat)
        number = len(self.calls)
        self.messages[number] = piece
        self.quoted.append(reply_to)
        return number

    async def edit_message(
        self, chat: ChatThread, message_id: int, piece: MessagePart
    ) -> None:
        """Change a message, or fail as planned."""
        self._call("edit", chat)
        self.messages[message_id] = piece

    async def delete_message(self, chat: ChatThread, message_id: int) -> None:
        """Take a message back, or fail as planned."""
        self._call("delete", chat)
        del self.messages[message_id]

    async def sleep(self, seconds: float) -> None:
        """Remember instead of sleeping."""
        self.slept.append(seconds)

    @property
    def courier(self) -> Delivery:
        """A courier without jitter."""
        return Delivery(
            self,  # type: ignore[arg-type]
            self.events,
            self.sleep,
            lambda: 0.5,
            lambda: 100.0,
        )

    def deliver(self, text: str, shown: SentReply | None = None) -> None:
        """Deliver a reply in Markdown."""
        reply = Reply(text, markdown=True)
        asyncio.run(self.courier.complete(shown or SentReply(HERE), reply))

    @property
    def texts(self) -> list[str]:
        """What can be read in the chat."""
        return [piece.text for piece in self.messages.values()]


def test_pieces_are_sent_in_order() -> None:
    """A long reply arrives as several messages; the first one quotes."""
    telegram = Telegram()
    telegram.deliver("a" * LIMIT + "b" * LIMIT + "c", SentReply(HERE, 3))

    assert [text[0] for text in telegram.texts] == ["a", "b", "c"]
    assert telegram.quoted == [3, None, None]


def test_flood_wait() -> None:
    """A flood wait is waited out as Telegram says, and is no trouble."""
    telegram = Telegram([FloodWaitError(35.0)])
    telegram.deliver("hello")

    assert telegram.texts == ["hello"]
    assert telegram.slept == [35.0]
    assert telegram.events == [DeliveryEvent(DeliveryIssue.RETRIED)]


def test_network_faults() -> None:
    """Faults of the network are told, and tried again after growing pauses."""
    telegram = Telegram([DOWN, SLOW, DOWN])
    telegram.deliver("hello")

    assert telegram.texts == ["hello"]
    assert telegram.slept == [1.0, 2.0, 4.0]
    assert telegram.events.of_type(ErrorEvent) == [
        ErrorEvent(ErrorType.NETWORK, Severity.WARNING),
        ErrorEvent(ErrorType.TIMEOUT, Severity.WARNING),
        ErrorEvent(ErrorType.NETWORK, Severity.WARNING),
    ]


@pytest.mark.parametrize("fault", [DOWN, FloodWaitError(60.0), FloodWaitError(1e6)])
def test_patience_ends(fault: Exception) -> None:
    """Waiting is bounded: a reply that cannot be delivered is given up."""
    telegram = Telegram([fault] * 1000)
    with pytest.raises(DeliveryError):
        telegram.deliver("hello")

    assert telegram.texts == []
    assert sum(telegram.slept) <= PATIENCE
    assert telegram.events[-1] == DeliveryEvent(DeliveryIssue.GAVE_UP)


@pytest.mark.parametrize(
    ("fault", "snag"),
    [(NO, DeliveryIssue.REFUSED), (ChatGoneError("blocked"), DeliveryIssue.BLOCKED)],
)
def test_a_no_is_final(fault: Exception, snag: DeliveryIssue) -> None:
    """What Telegram refuses is not tried again."""
    telegram = Telegram([fault])
    with pytest.raises(DeliveryError):
        telegram.deliver("hello")

    assert (telegram.texts, telegram.slept) == ([], [])
    assert telegram.events == [DeliveryEvent(snag)]


def test_formatting_that_is_refused() -> None:
    """The words arrive as they were written if their formatting is not taken."""
    telegram = Telegram([NO])
    telegram.deliver("**bold** and [a link](https://x.y)")

    assert telegram.texts == ["**bold** and [a link](https://x.y)"]
    assert telegram.events == [DeliveryEvent(DeliveryIssue.PLAIN_TEXT)]


def test_a_chat_that_is_gone_is_not_tried_without_formatting() -> None:
    """Nobody is there to read it without formatting either."""
    telegram = Telegram([ChatGoneError("blocked")])
    with pytest.raises(ChatGoneError):
        telegram.deliver("**bold**")

    assert telegram.calls == []


def test_what_is_shown_is_edited() -> None:
    """What can be seen already is made right, and what is too much goes."""
    telegram = Telegram()
    shown = SentReply(HERE)
    telegram.deliver("a" * LIMIT + "b" * LIMIT + "c", shown)
    telegram.deliver("a" * LIMIT + "**d**", shown)

    assert telegram.calls == ["send"] * 3 + ["edit", "delete"]
    assert [text[0] for text in telegram.texts] == ["a", "d"]
    assert len(shown.messages) == 2


def test_nothing_changed() -> None:
    """What can be seen and is right is left alone."""
    telegram = Telegram()
    shown = SentReply(HERE)
    telegram.deliver("**a**", shown)
    telegram.deliver("**a**", shown)

    assert telegram.calls == ["send"]
    assert telegram.messages == {1: MessagePart("a", BOLD)}


def test_a_message_that_cannot_be_edited() -> None:
    """Somebody took the message away: it is sent anew."""
    telegram = Telegram()
    shown = SentReply(HERE)
    telegram.deliver("half", shown)
    telegram.faults = [NO]
    telegram.deliver("half of it, and the rest", shown)

    assert telegram.texts == ["half", "half of it, and the rest"]


def test_a_wait_that_is_known() -> None:
    """What Telegram asked for while the reply grew is waited out first."""
    telegram = Telegram()
    telegram.deliver("hello", SentReply(HERE, quiet_until=112.0))

    assert telegram.slept == [12.0]
    assert telegram.texts == ["hello"]


def test_what_cannot_be_taken_back_stays() -> None:
    """A message too much that Telegram does not take back fails nothing."""
    telegram = Telegram()
    shown = SentReply(HERE)
    telegram.deliver("a" * LIMIT + "b", shown)
    telegram.faults = [NO]
    telegram.deliver("a" * LIMIT, shown)

    assert telegram.events == [DeliveryEvent(DeliveryIssue.EDIT_LOST)]
