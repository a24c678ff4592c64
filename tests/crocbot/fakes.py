"""Fakes that several test modules share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web

from crocbot.agents import AnswerReader, ThinkingTags, Timeouts
from crocbot.agents.answer import NO_ENCLOSURES, NO_SECRETS, EnclosureSink
from crocbot.clocks import SystemClocks
from crocbot.errors import DeliveryError, FileTooLargeError, InboxError
from crocbot.events import AgentCall, Event
from crocbot.inbox import Accepted
from crocbot.log import Redactor
from crocbot.model import (
    RETRACTED,
    ChatThread,
    HostPort,
    Message,
    MessagePart,
    MessageType,
    Prompt,
    RawUpdate,
    Row,
    Usage,
)
from crocbot.replicas.leader import Term
from crocbot.telemetry.labels import LossReason
from crocbot.telemetry.udp import UdpTarget
from crocbot.turn_outcomes import AgentErrorReason
from tests.servers import close_runner

E = TypeVar("E", bound=Event)


class RecordedEvents(list[Event]):
    """An EventListener that is the list of what was emitted."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = asyncio.Event()

    def emit(self, event: Event) -> None:
        """Append the event, and set `changed`."""
        self.append(event)
        self.changed.set()

    async def wait_for(self, type_: type[Event]) -> None:
        """Wait until an event of this class was emitted."""
        while not self.of_type(type_):
            self.changed.clear()
            await self.changed.wait()

    def of_type(self, type_: type[E]) -> list[E]:
        """Return the events of one class, in order."""
        return [event for event in self if isinstance(event, type_)]


class AcceptingDispatcher:
    """
    A Dispatcher that only stores updates, and raises what is in `errors` first.

    Of the first batches it stores only as many updates as `fitting` has.  `leaders` are
    the epochs of the leader's lease that it was given.
    """

    def __init__(self) -> None:
        self.leaders: list[int | None] = []
        self.stored: list[RawUpdate] = []
        self.errors: list[Exception] = []
        self.fitting: list[int] = []
        self.capacity = 1000
        self.has_capacity = asyncio.Event()
        self.has_capacity.set()

    async def accept(
        self, updates: Sequence[RawUpdate], *, leader: int | None = None
    ) -> Accepted:
        self.leaders.append(leader)
        if self.errors:
            raise self.errors.pop(0)
        error = None
        if self.fitting:
            updates, error = updates[: self.fitting.pop(0)], InboxError("full")
        new = [update for update in updates if update not in self.stored]
        self.stored += new
        rows = [Row(update["update_id"], update, 0.0) for update in new]
        return Accepted(rows=rows, stored=len(updates), error=error)

    async def wait_for_capacity(self) -> int:
        await self.has_capacity.wait()
        return self.capacity


class Elected:
    """A Leadership that the test sets; `lost` ends the term when it is confirmed."""

    def __init__(self) -> None:
        self.term: Term | None = None
        self.leader: str | None = "b"
        self.lost = False
        self.confirmed = 0
        self._begun = asyncio.Event()

    def begin(self, term: Term) -> None:
        """Begin a term."""
        self.term = term
        self._begun.set()

    def end(self) -> None:
        """End the term."""
        term, self.term = self.term, None
        self._begun.clear()
        if term is not None:
            term.ended.set()

    async def wait_for_term(self) -> Term:
        """Wait until a term begins."""
        while self.term is None:
            await self._begun.wait()
        return self.term

    async def confirm(self, term: Term) -> bool:
        """Return whether a term lasts; it does not with `lost`."""
        self.confirmed += 1
        if self.lost:
            self.end()
        return self.term is term


class RecordingTarget(UdpTarget):
    """A UdpTarget without a socket that keeps its datagrams; `full` are refused."""

    TOTAL = "crocbot.emitter.lines_sent:"

    def __init__(self) -> None:
        super().__init__(HostPort("bridge", 9125))
        self.generation = 1
        self.online = True
        self.running = False
        self.full = 0
        self.datagrams: list[bytes] = []
        # Not set by the total at the end of a flush.
        self.received = asyncio.Event()

    @property
    def connected(self) -> bool:
        return self.online

    def start(self) -> None:
        self.running = True

    async def wait_connected(self, seconds: float) -> None:
        pass

    async def stop(self) -> None:
        self.running = False

    def send(self, datagram: bytes) -> None:
        lines = datagram.count(b"\n") + 1
        if self.full:
            self.full -= 1
            self.lost[LossReason.BUFFER_FULL] += lines
            return
        self.datagrams.append(datagram)
        self.sent += lines
        if not datagram.startswith(self.TOTAL.encode()):
            self.received.set()

    def take_all(self) -> list[str]:
        """Return and forget every line so far."""
        lines = b"\n".join(self.datagrams).decode().split("\n")
        self.datagrams.clear()
        return list(filter(None, lines))

    def take(self) -> list[str]:
        """Return and forget the lines so far, without the totals that end a flush."""
        return [line for line in self.take_all() if not line.startswith(self.TOTAL)]


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class FakeClocks:
    """The clocks of a system, which a test sets."""

    def __init__(self, now: float = 100.0) -> None:
        self.wall = now
        self.monotonic = now
        self.boot = "a boot"

    def system(self) -> SystemClocks:
        """Return the clocks as a new process sees them."""
        return SystemClocks(
            wall=lambda: self.wall, monotonic=lambda: self.monotonic, boot=self.boot
        )

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds
        self.monotonic += seconds

    def reboot(self, wall: float) -> None:
        """Start the machine again, at this Unix time."""
        self.wall, self.monotonic, self.boot = wall, 1.0, f"boot at {wall}"


def a_message(text: str = "hi", **fields: Any) -> Message:
    """Return a private message of user 7, with other fields as given."""
    defaults: dict[str, Any] = {
        "update_id": 1,
        "chat": ChatThread(7),
        "message_id": 3,
        "sender_id": 7,
        "private": True,
        "type": MessageType.TEXT,
        "command": None,
        "accepted_at": 0.0,
    }
    return Message(text=text, **(defaults | fields))


class FakeTelegram:
    """
    The calls of `botapi.Client` that a reply needs, with the messages in one chat.

    `errors` are raised first, one a call: by the method's name.
    """

    def __init__(self) -> None:
        self.messages: dict[int, MessagePart] = {}
        self.chats: set[ChatThread] = set()
        self.calls: list[str] = []
        self.shown: list[str] = []
        self.quotes: list[int | None] = []
        self.errors: dict[str, list[Exception]] = {}
        self.files: dict[str, bytes] = {}
        self.downloads: list[str] = []
        self.download_hangs: asyncio.Event | None = None
        self.typing_hangs = False
        self.draft_hangs = False
        self.drafts: list[tuple[int, str]] = []
        self.slept: list[float] = []
        self.changed = asyncio.Event()

    @property
    def texts(self) -> list[str]:
        return [part.text for part in self.messages.values()]

    def _call(self, method: str, chat: ChatThread) -> None:
        self.calls.append(method)
        self.chats.add(chat)
        self.changed.set()
        if self.errors.get(method) and (error := self.errors[method].pop(0)):
            raise error

    def _show(self, message_id: int, part: MessagePart) -> None:
        self.messages[message_id] = part
        self.shown.append(part.text)

    async def send_message(
        self, chat: ChatThread, part: MessagePart, reply_to: int | None = None
    ) -> int:
        self._call("send", chat)
        self.quotes.append(reply_to)
        self._show(len(self.quotes), part)
        return len(self.quotes)

    async def send_draft(
        self, chat: ChatThread, draft_id: int, part: MessagePart
    ) -> None:
        self._call("draft", chat)
        if self.draft_hangs:
            await asyncio.Event().wait()
        self.drafts.append((draft_id, part.text))

    async def edit_message(
        self, chat: ChatThread, message_id: int, part: MessagePart
    ) -> None:
        self._call("edit", chat)
        self._show(message_id, part)

    async def delete_message(self, chat: ChatThread, message_id: int) -> None:
        self._call("delete", chat)
        del self.messages[message_id]

    async def send_typing(self, chat: ChatThread) -> None:
        self._call("type", chat)
        if self.typing_hangs:
            await asyncio.Event().wait()

    async def download(self, file_id: str, max_bytes: int) -> bytes:
        self.downloads.append(file_id)
        if self.download_hangs is not None:
            await self.download_hangs.wait()
        if self.errors.get("download"):
            raise self.errors["download"].pop(0)
        if file_id not in self.files:
            raise DeliveryError("the file is gone")
        if len(self.files[file_id]) > max_bytes:
            raise FileTooLargeError(f"the file has more than {max_bytes} bytes")
        return self.files[file_id]

    async def sleep(self, seconds: float) -> None:
        """Record a pause and take no time."""
        self.slept.append(seconds)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds, which may change at every call."""
        async with asyncio.timeout(30):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@dataclass(slots=True)
class Reading:
    """What an AnswerReader read."""

    texts: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    events: RecordedEvents = field(default_factory=RecordedEvents)
    usage: Usage = field(default_factory=Usage)
    error: Exception | None = None

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def call(self) -> AgentCall:
        (call,) = self.events.of_type(AgentCall)
        return call

    @property
    def reason(self) -> AgentErrorReason | None:
        return self.call.error


async def read_answer(
    agent: Any,
    prompt: Prompt | None = None,
    timeouts: Timeouts | None = None,
    redactor: Redactor = NO_SECRETS,
    thinking: ThinkingTags | None = None,
    enclosures: EnclosureSink = NO_ENCLOSURES,
) -> Reading:
    """Read an agent's answer to its end; pauses between tries take no time."""
    reading = Reading()

    async def sleep(seconds: float) -> None:
        reading.slept.append(seconds)

    reader = AnswerReader(
        agent=agent,
        prompt=prompt or Prompt(a_message()),
        timeouts=timeouts or Timeouts(first_byte=30.0, total=30.0),
        events=reading.events,
        redactor=redactor,
        thinking=thinking,
        enclosures=enclosures,
        sleep=sleep,
        random=lambda: 0.5,
    )
    async with aclosing(reader.texts()) as texts:
        async for text in texts:
            if text is RETRACTED:
                reading.texts.clear()
            else:
                reading.texts.append(text)
    assert reader.text == reading.text
    reading.usage, reading.error = reader.usage, reader.error
    return reading


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handlers: Mapping[str, Handler]) -> AsyncIterator[str]:
    """Serve `{"POST /path": handler}` on a free port; yield `127.0.0.1:PORT`."""
    app = web.Application(client_max_size=10**7)
    for route, handler in handlers.items():
        method, path = route.split()
        app.router.add_route(method, path, handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await close_runner(runner)


def streaming(content_type: str, *chunks: bytes, cut: bool = False) -> Handler:
    """Return a handler that writes chunks one by one, and may break off after them."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0.01)
        if cut and request.transport is not None:
            # Not abort(): a reset discards what the client has not read yet.
            request.transport.close()
        return response

    return handle
