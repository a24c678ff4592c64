"""Files of replies: each arrives in the best form that Telegram accepts, once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot.delivery_outcomes import DeliveryIssue
from crocbot.errors import (
    ChatGoneError,
    DeliveryError,
    FloodWaitError,
    GaveUpError,
    Refusal,
    StoreError,
    TelegramError,
)
from crocbot.events import ButtonsEvent, DeliveryEvent, FileEvent
from crocbot.model import ChatThread, MessagePart, ReconnectReason, Reply
from crocbot.outgoing import (
    Button,
    FileKind,
    FileUpload,
    OutgoingFile,
    SentSteps,
)
from crocbot.reply import Delivery
from crocbot.turn_outcomes import FileOutcome
from tests.crocbot.fakes import FakeTelegram, RecordedEvents

CHAT = ChatThread(7, 4)
BUTTONS = ((Button(text="Yes", data="yes"),),)
DOWN = TelegramError("down", ReconnectReason.NETWORK)
SLOW = TelegramError("slow", ReconnectReason.TIMEOUT)
FLOOD = FloodWaitError(3.0)
PHOTO, DOCUMENT = FileKind.PHOTO, FileKind.DOCUMENT


def refused(refusal: Refusal) -> DeliveryError:
    """Return the error of a refused call."""
    return DeliveryError("no", refusal)


class MemoryKeeper:
    """A ReplyKeeper that survives `crash`, in which no step is written any more."""

    def __init__(self) -> None:
        self.reply: Reply | None = None
        self.sent: SentSteps | None = None
        self.broken = False

    async def keep(self, update_id: int, reply: Reply, sent: SentSteps) -> None:
        self._check()
        self.reply, self.sent = reply, sent

    async def record(self, update_id: int, sent: SentSteps) -> None:
        self._check()
        self.sent = sent

    async def content(self, update_id: int, position: int) -> bytes:
        return str(position).encode()

    def _check(self) -> None:
        if self.broken:
            raise StoreError("the disk is full")


class FileChat(FakeTelegram):
    """A chat that takes files: a list of what was sent, in order."""

    def __init__(self, *errors: Exception | None, **options: Any) -> None:
        super().__init__()
        self.events = RecordedEvents()
        self.keeper = MemoryKeeper()
        self.sent: list[tuple[str, str]] = []
        self.captions: list[MessagePart] = []
        self.file_errors: list[Exception | None] = list(errors)
        self._options = options

    async def send_message(
        self, chat: ChatThread, part: MessagePart, reply_to: int | None = None
    ) -> int:
        message_id = await super().send_message(chat, part, reply_to)
        self.sent.append(("text", part.text))
        return message_id

    async def send_file(
        self,
        chat: ChatThread,
        file: FileUpload,
        caption: MessagePart,
        reply_to: int | None = None,
    ) -> int:
        self._call("file", chat)
        if self.file_errors and (error := self.file_errors.pop(0)):
            raise error
        self.quotes.append(reply_to)
        self.sent.append((str(file.kind), file.content.decode()))
        self.captions.append(caption)
        return len(self.quotes)

    async def deliver(self, reply: Reply, sent: SentSteps | None = None) -> None:
        """Deliver a reply, as a process does that found these steps done."""
        delivery = Delivery(
            client=self,  # type: ignore[arg-type]
            events=self.events,
            keeper=self.keeper,
            sleep=self.sleep,
            random=lambda: 0.5,
            clock=lambda: 100.0,
        )
        progress = delivery.start(CHAT, update_id=1, sent=sent, **self._options)
        await progress.deliver(reply)

    @property
    def issues(self) -> list[DeliveryIssue]:
        """Return the issues that were reported."""
        return [event.issue for event in self.events.of_type(DeliveryEvent)]

    @property
    def outcomes(self) -> list[FileOutcome]:
        """Return how the files were counted."""
        return [event.outcome for event in self.events.of_type(FileEvent)]


def a_file(kind: FileKind = PHOTO, caption: str = "") -> OutgoingFile:
    """Return a file of a reply."""
    return OutgoingFile(
        kind=kind, name="a.png", mime_type="image/png", size=1, caption=caption
    )


def a_reply(text: str = "Here.", count: int = 1, **fields: Any) -> Reply:
    """Return a reply with photos."""
    return Reply(text, files=(a_file(),) * count, **fields)


async def test_text_and_files() -> None:
    """The text is first, with the buttons; files follow in their order."""
    chat = FileChat(quote=3)
    await chat.deliver(a_reply(count=2, buttons=BUTTONS))

    assert chat.sent == [("text", "Here."), ("photo", "0"), ("photo", "1")]
    assert chat.quotes == [3, None, None]
    assert chat.messages[1].buttons == BUTTONS
    assert [caption.buttons for caption in chat.captions] == [(), ()]
    assert (chat.outcomes, chat.issues) == ([FileOutcome.OK] * 2, [])
    assert [event.count for event in chat.events.of_type(ButtonsEvent)] == [1]


async def test_files_without_text() -> None:
    """The first file quotes, the last one has the buttons."""
    chat = FileChat(quote=3)
    await chat.deliver(a_reply("", 2, buttons=BUTTONS))

    assert chat.sent == [("photo", "0"), ("photo", "1")]
    assert chat.quotes == [3, None]
    assert [caption.buttons for caption in chat.captions] == [(), BUTTONS]


@pytest.mark.parametrize(
    ("errors", "sent", "issues"),
    [
        ([], ("photo", "0"), []),
        ([FLOOD], ("photo", "0"), [DeliveryIssue.RETRIED]),
        ([DOWN, SLOW], ("photo", "0"), [DeliveryIssue.RETRIED] * 2),
        ([refused(Refusal.FILE)], ("document", "0"), [DeliveryIssue.AS_DOCUMENT]),
        ([refused(Refusal.OTHER)], ("document", "0"), [DeliveryIssue.AS_DOCUMENT]),
        ([refused(Refusal.THREAD)], ("photo", "0"), [DeliveryIssue.WITHOUT_THREAD]),
        ([refused(Refusal.QUOTE)], ("photo", "0"), [DeliveryIssue.WITHOUT_QUOTE]),
        ([refused(Refusal.BUTTONS)], ("photo", "0"), [DeliveryIssue.WITHOUT_BUTTONS]),
        ([refused(Refusal.FORMATTING)], ("photo", "0"), [DeliveryIssue.PLAIN_TEXT]),
        (
            [refused(Refusal.FILE)] * 2,
            ("text", "cap tion\n\n(The file a.png could not be sent.)"),
            [],
        ),
    ],
)
async def test_refusals(
    errors: Sequence[Exception], sent: Any, issues: Sequence[DeliveryIssue]
) -> None:
    """Without what is refused, as a document, and at last as a sentence."""
    chat = FileChat(*errors, quote=3)
    files = (a_file(caption="cap *tion*"),)
    await chat.deliver(Reply("", markdown=True, files=files, buttons=BUTTONS))

    assert (chat.sent, chat.issues) == ([sent], list(issues))
    is_sent = sent[0] != "text"
    assert chat.outcomes == [FileOutcome.OK if is_sent else FileOutcome.FAILED]


async def test_the_next_file_after_a_refused_one() -> None:
    """A file that cannot be sent keeps no other from being sent."""
    errors = [refused(Refusal.FILE)] * 2
    chat = FileChat(*errors)
    await chat.deliver(a_reply("", 2))

    assert chat.sent == [
        ("text", "(The file a.png could not be sent.)"),
        ("photo", "1"),
    ]


@pytest.mark.parametrize(
    ("error", "raised"),
    [(ChatGoneError("gone"), ChatGoneError), (FloodWaitError(4000.0), GaveUpError)],
)
async def test_a_failed_delivery_goes_on(
    error: Exception, raised: type[Exception]
) -> None:
    """The reply is undelivered, with what is left of it."""
    chat, reply = FileChat(None, error), a_reply(count=3)
    with pytest.raises(raised) as caught:
        await chat.deliver(reply)

    assert isinstance(caught.value, DeliveryError)
    assert caught.value.undelivered == reply
    unknown = raised is GaveUpError
    assert chat.keeper.sent == SentSteps(messages=(1,), files=1, unknown=unknown)
    await chat.deliver(reply, chat.keeper.sent)
    assert chat.sent == [("text", "Here."), *(("photo", str(n)) for n in range(3))]


async def test_a_full_disk() -> None:
    """Steps that cannot be written prevent no delivery."""
    chat = FileChat()
    chat.keeper.broken = True
    await chat.deliver(a_reply(count=2, buttons=BUTTONS))

    assert chat.sent == [("text", "Here."), ("photo", "0"), ("photo", "1")]


async def test_a_text_is_not_kept() -> None:
    """An answer without files and buttons costs no write."""
    chat = FileChat()
    await chat.deliver(Reply("Here."))

    assert (chat.sent, chat.keeper.reply) == ([("text", "Here.")], None)


@given(data=st.data(), count=st.integers(0, 4), has_text=st.booleans())
async def test_crashes(data: st.DataObject, count: int, has_text: bool) -> None:
    """
    However often it crashes, everything arrives in order.

    Only what was under way at a crash may arrive twice, and is counted.
    """
    chat = FileChat()
    text = "x" * 5000 if has_text else ""
    reply = a_reply(text, count, buttons=BUTTONS)
    crashes = 0
    while True:
        calls = data.draw(st.integers(0, 6), "calls before the crash")
        arrives = data.draw(st.booleans(), "whether the last one arrives")
        crashing = _Crash(chat, calls, arrives=arrives)
        try:
            await crashing.deliver(reply, chat.keeper.sent)
            break
        except asyncio.CancelledError:
            crashes += 1
        if crashes > 8:
            await chat.deliver(reply, chat.keeper.sent)
            break
    expected = [*(["a", "b"] if has_text else []), *map(str, range(count))]
    order = list(dict.fromkeys(crashing.shown))
    assert order == expected
    repeated = len(crashing.shown) - len(expected)
    assert repeated <= chat.issues.count(DeliveryIssue.REPEATED) <= crashes


class _Crash:
    """A process that ends at the call after `calls`, which arrives or not."""

    def __init__(self, chat: FileChat, calls: int, *, arrives: bool) -> None:
        self._chat, self._calls, self._arrives = chat, calls, arrives
        self._file, self._message = chat.send_file, chat.send_message

    @property
    def shown(self) -> list[str]:
        """Return what the chat shows: a and b for the two parts of the text."""
        return [
            content if kind != "text" else "a" if len(content) > 2000 else "b"
            for kind, content in self._chat.sent
        ]

    async def deliver(self, reply: Reply, sent: SentSteps | None) -> None:
        """Deliver until the crash.  Raise CancelledError then."""
        chat = self._chat
        chat.send_file = self._wrap(self._file)  # type: ignore[method-assign]
        chat.send_message = self._wrap(self._message)  # type: ignore[method-assign]
        try:
            await chat.deliver(reply, sent)
        finally:
            chat.send_file = self._file  # type: ignore[method-assign]
            chat.send_message = self._message  # type: ignore[method-assign]

    def _wrap(self, call: Any) -> Any:
        async def wrapped(*arguments: Any) -> int:
            self._calls -= 1
            if self._calls < 0:
                if self._arrives:
                    await call(*arguments)
                raise asyncio.CancelledError
            result: int = await call(*arguments)
            return result

        return wrapped
