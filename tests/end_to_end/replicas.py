"""
Replicas of one bot as processes of a test, and what is between them and the world.

    async with Replicas.open(world, url, count=3) as replicas:
        await replicas.start_all()
        await replicas[0].kill()          also pause, resume, stop, start
        replicas.total("crocbot...")      a counter, added up over replicas

    Balancer    webhook requests to replicas that are ready
    Gate        a TCP proxy to PostgreSQL that can stop to forward, delay, or cut
    Sink        the metrics of one replica, without a bridge
    AnswerLog   the answers by chat, as Telegram saw them
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from crocbot.sandbox import Person
from crocbot.sandbox.children import Child, while_alive
from tests.end_to_end.world import World
from tests.ports import HOST, free_port

MAX_TURNS = 16
READY_SECONDS = 0.3
REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=5)
CHUNK_BYTES = 65_536


class AnswerLog:
    """The answers by chat, in the order of their arrival at Telegram."""

    def __init__(self, world: World, chats: int) -> None:
        self.by_chat: dict[int, list[int]] = defaultdict(list)
        self.count = 0
        self.expected = 0
        self._chats = chats
        self._world = world
        self._numbers = itertools.count()
        world.server.listen(self._on_sent)

    def _on_sent(self, sent: Any) -> None:
        self.by_chat[sent["chat"]["id"]].append(int(sent["text"]))
        self.count += 1

    def write(self, each: int, *, digits: int = 1) -> None:
        """Write this many messages in each chat: numbers, which rise."""
        for _ in range(each):
            number = next(self._numbers)
            for chat in range(1, self._chats + 1):
                self._world.server.send(
                    Person(chat, f"Person {chat}"), f"{number:0{digits}}"
                )
        self.expected += each * self._chats

    @property
    def answered(self) -> int:
        """The number of messages with an answer."""
        return sum(len(set(numbers)) for numbers in self.by_chat.values())

    @property
    def missing(self) -> int:
        """The number of messages without an answer."""
        return self.expected - self.answered

    @property
    def duplicates(self) -> int:
        """The number of answers beyond the first of a message."""
        return self.count - self.answered

    @property
    def disorder(self) -> dict[int, list[int]]:
        """The answers of chats whose first answers are not in the order of messages."""
        return {
            chat: numbers
            for chat, numbers in self.by_chat.items()
            if list(dict.fromkeys(numbers)) != sorted(set(numbers))
        }

    async def wait_for(self, answered: int) -> None:
        """Wait until this number of messages has an answer, as long as some come."""
        while (known := self.answered) < answered:
            await self._world.eventually(lambda: self.answered > known)

    async def wait_for_all(self) -> None:
        """Wait until every message has an answer."""
        await self.wait_for(self.expected)


class Sink(asyncio.DatagramProtocol):
    """Receives the statsd lines of one replica: sums of counters, last gauges."""

    def __init__(self) -> None:
        self.counters: dict[str, float] = defaultdict(float)
        self.gauges: dict[str, float] = {}
        self.port = 0

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Add up the lines of a datagram."""
        for line in data.decode().splitlines():
            name, _, rest = line.partition(":")
            value, type_, *_ = rest.split("|")
            if type_ == "c":
                self.counters[name] += float(value)
            elif type_ == "g":
                self.gauges[name] = float(value)


class Gate:
    """
    A TCP proxy to a port, whose state a test changes while connections are open.

    `delay_seconds` is before each part that it forwards.  With `cuts` a connection is
    reset in place of each answer that it returns True for, which the server has given:
    its client cannot know what was committed.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self.delay_seconds = 0.0
        self.target = port
        self.cuts: Callable[[], bool] | None = None
        self.answers_lost = 0
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[Gate]:
        """Accept connections until the context ends."""
        server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def block(self) -> None:
        """Forward nothing; connections stay, and new ones are accepted, too."""
        self._open.clear()

    def unblock(self) -> None:
        """Forward again, first what has arrived meanwhile."""
        self._open.set()

    def cut(self) -> None:
        """Reset all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._open.wait()
            there_reader, there_writer = await asyncio.open_connection(
                HOST, self.target
            )
            both = {writer, there_writer}
            self._writers |= both
            try:
                pumps = [
                    asyncio.ensure_future(self._pump(reader, there_writer)),
                    asyncio.ensure_future(
                        self._pump(there_reader, writer, has_answers=True)
                    ),
                ]
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.gather(*pumps, return_exceptions=True)
            finally:
                self._writers -= both
                there_writer.transport.abort()
        except (OSError, asyncio.CancelledError):
            # asyncio's server would log that its task was cancelled.
            pass
        finally:
            writer.transport.abort()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        has_answers: bool = False,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self._open.wait()
                if has_answers and self.cuts is not None and self.cuts():
                    self.answers_lost += 1
                    return
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                writer.write(data)
                await writer.drain()


class Replica:
    """One replica: its process, its metrics, and its log over all its starts."""

    def __init__(self, world: World, number: int, url: str, statsd_port: int) -> None:
        self.world = world
        self.number = number
        self.sink = Sink()
        self.health_port = free_port()
        self.webhook_port = free_port()
        self.child: Child | None = None
        self.paused = False
        self.logs: list[Any] = []
        self.settings = {
            **world.settings(),
            "CROCBOT_DATABASE_URL": url,
            "CROCBOT_STATE_DIR": str(world.home / f"state-{number}"),
            "CROCBOT_HEALTH_ADDRESS": f"{HOST}:{self.health_port}",
            "CROCBOT_STATSD_PORT": str(statsd_port),
            "CROCBOT_MAX_TURNS": str(MAX_TURNS),
        }

    @property
    def log(self) -> str:
        """What it has logged since its first start."""
        return "".join(each.read_text(errors="replace") for each in self.logs)

    async def launch(self) -> None:
        """Start it, without waiting until it is ready."""
        self.child = await self.world.start("crocbot", "gateway", **self.settings)
        self.logs.append(self.child.output)

    async def start(self) -> None:
        """Start it; return once it is ready."""
        await self.launch()
        assert self.child is not None
        await while_alive(self.world.eventually(self.ready), self.child)

    async def ready(self) -> bool:
        """Return whether /readyz says so."""
        return await self.page("/readyz") is not None

    async def page(self, path: str) -> str | None:
        """Return a page of its health address; None if it is not served with 200."""
        url = f"http://{HOST}:{self.health_port}{path}"
        timeout = aiohttp.ClientTimeout(total=1)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(url) as response,
            ):
                text = await response.text()
                return text if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError):
            return None

    def send_signal(self, number: int) -> None:
        """Send a signal to its process."""
        assert self.child is not None
        self.child.process.send_signal(number)

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self.child is not None and self.child.process.returncode is None

    async def stop(self) -> int:
        """End it by SIGTERM; return its exit code."""
        assert self.child is not None
        return await self.child.stop()

    async def kill(self) -> None:
        """End it by SIGKILL."""
        self.send_signal(signal.SIGKILL)
        assert self.child is not None
        await self.child.process.wait()

    def pause(self) -> None:
        """Stop it by SIGSTOP."""
        self.paused = True
        self.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.paused = False
        self.send_signal(signal.SIGCONT)


class Balancer:
    """Webhook requests to replicas that are ready, the next one for each request."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self.port = free_port()
        self._replicas = replicas
        self._ready: list[Replica] = []
        self._turn = itertools.count()
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[Balancer]:
        """Serve until the context ends."""
        app = web.Application(client_max_size=1 << 20)
        app.router.add_post("/{path:.*}", self._forward)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, HOST, self.port).start()
        self._start(self._check())
        try:
            async with aiohttp.ClientSession(timeout=REQUEST_TIMEOUT) as self._session:
                yield self
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await runner.cleanup()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def _check(self) -> None:
        while True:
            ready = await asyncio.gather(*(each.ready() for each in self._replicas))
            self._ready = list(itertools.compress(self._replicas, ready))
            await asyncio.sleep(READY_SECONDS)

    async def _forward(self, request: web.Request) -> web.Response:
        if not self._ready:
            return web.Response(status=503)
        replica = self._ready[next(self._turn) % len(self._ready)]
        status = await self._post(replica, request, await request.read())
        return web.Response(status=status)

    async def _post(self, replica: Replica, request: web.Request, body: bytes) -> int:
        """Pass a request on; return the status of the response."""
        url = f"http://{HOST}:{replica.webhook_port}{request.path}"
        try:
            async with self._session.post(
                url, data=body, headers=request.headers
            ) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return 502


class Bursts(Balancer):
    """
    Takes all requests at once, and sends those of different chats at the same time.

    Each goes to one or two replicas, whether they are ready or not, until one of them
    has stored it; the next one of its chat comes after that.
    """

    def __init__(self, replicas: Sequence[Replica]) -> None:
        super().__init__(replicas)
        self._queues: dict[int, asyncio.Queue[tuple[web.Request, bytes]]] = {}

    async def _forward(self, request: web.Request) -> web.Response:
        body = await request.read()
        chat = json.loads(body)["message"]["chat"]["id"]
        if chat not in self._queues:
            self._queues[chat] = asyncio.Queue()
            self._start(self._send_all(self._queues[chat]))
        self._queues[chat].put_nowait((request, body))
        return web.Response()

    async def _send_all(self, queue: asyncio.Queue[tuple[web.Request, bytes]]) -> None:
        while True:
            request, body = await queue.get()
            while not await self._send(request, body):
                await asyncio.sleep(random.uniform(0, 0.3))

    async def _send(self, request: web.Request, body: bytes) -> bool:
        chosen = random.sample(list(self._replicas), random.choice([1, 1, 2]))
        calls = [self._post(each, request, body) for each in chosen]
        return 200 in await asyncio.gather(*calls)


class Replicas(Sequence[Replica]):
    """All replicas of the sandbox's bot."""

    def __init__(self, members: Sequence[Replica]) -> None:
        self._members = members

    def __getitem__(self, index: Any) -> Any:
        return self._members[index]

    def __len__(self) -> int:
        return len(self._members)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        world: World,
        urls: Sequence[str],
        *,
        webhook: bool = False,
        at_once: bool = False,
    ) -> AsyncIterator[Replicas]:
        """
        Prepare a replica for each URL of the database; none is started.

        With `at_once` requests of the webhook are those of Bursts.
        """
        loop = asyncio.get_running_loop()
        members: list[Replica] = []
        async with AsyncExitStack() as stack:
            for number, url in enumerate(urls):
                port = free_port()
                replica = Replica(world, number, url, port)
                transport, _ = await loop.create_datagram_endpoint(
                    partial(_same, replica.sink), local_addr=(HOST, port)
                )
                stack.callback(transport.close)
                members.append(replica)
            if webhook:
                kind = Bursts if at_once else Balancer
                balancer = await stack.enter_async_context(kind(members).listen())
                for each in members:
                    each.settings["CROCBOT_WEBHOOK_URL"] = (
                        f"http://{HOST}:{balancer.port}"
                    )
                    each.settings["CROCBOT_WEBHOOK_LISTEN"] = (
                        f"{HOST}:{each.webhook_port}"
                    )
            try:
                yield cls(members)
            finally:
                for each in members:
                    if each.paused:
                        each.resume()

    async def start_all(self) -> None:
        """Start all at once; return when all are ready."""
        await asyncio.gather(*(each.start() for each in self))

    def total(self, name: str) -> float:
        """Return a counter, added up over replicas; names may begin with it."""
        return sum(
            value
            for each in self
            for found, value in each.sink.counters.items()
            if found == name or found.startswith(f"{name}.")
        )

    @property
    def leader(self) -> Replica | None:
        """The replica with the newest epoch among those that send one."""
        led = [(_epoch(each), each.number) for each in self]
        epoch, number = max(led)
        return self[number] if epoch else None

    def ledger(self) -> dict[str, float]:
        """Return the gauges of the inbox that the leader sent last."""
        leader = self.leader
        gauges = {} if leader is None else leader.sink.gauges
        return {
            name.removeprefix("crocbot.inbox."): value
            for name, value in gauges.items()
            if name.startswith("crocbot.inbox.")
        }

    def ledger_closes(self, expected: int) -> bool:
        """Return whether all rows are accepted and answered, none open or other."""
        ledger = self.ledger()
        closed = sum(v for name, v in ledger.items() if name.startswith("closed."))
        answered, accepted = ledger.get("closed.answered"), ledger.get("accepted")
        return accepted == closed == answered == expected and ledger.get("open") == 0


def _same(sink: Sink) -> Sink:
    return sink


def _epoch(replica: Replica) -> float:
    epochs = [
        value
        for name, value in replica.sink.gauges.items()
        if name.startswith("crocbot.leader_epoch.")
    ]
    return max(epochs, default=0.0)


def through(url: str, port: int) -> str:
    """Return the URL of a database with another port."""
    parts = urlsplit(url)
    host = f"{parts.username}:{parts.password}@{HOST}:{port}"
    return parts._replace(netloc=host).geturl()
