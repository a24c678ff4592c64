"""Which of several replicas polls: takeovers, pauses, orderly stops, the webhook."""

from __future__ import annotations

import asyncio
import signal

import aiohttp
import psycopg
import pytest

from crocbot.sandbox import Person, faults
from crocbot.sandbox.children import Child, while_alive
from tests.end_to_end.world import World
from tests.ports import HOST, free_port

ADA = Person(7, "Ada")


class Replica:
    """A replica: its process, its pages and its log."""

    def __init__(self, world: World, url: str, name: str, **settings: str) -> None:
        self.world = world
        self.name = name
        self.port = free_port()
        self.child: Child | None = None
        self._settings = {
            **world.settings(),
            "CROCBOT_DATABASE_URL": url,
            "CROCBOT_STATE_DIR": str(world.home / name),
            "CROCBOT_HEALTH_ADDRESS": f"{HOST}:{self.port}",
            "CROCBOT_STATSD_HOST": "off",
            **settings,
        }

    async def start(self) -> None:
        """Start it; return once it has a health page."""
        self.child = await self.world.start("crocbot", "gateway", **self._settings)
        served = self.world.eventually(lambda: self.page("/healthz"))
        await while_alive(served, self.child)

    async def page(self, path: str) -> str:
        """Return a page, empty if there is none."""
        timeout = aiohttp.ClientTimeout(total=5)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"http://{HOST}:{self.port}{path}") as response,
            ):
                return await response.text()
        except (aiohttp.ClientError, TimeoutError):
            return ""

    async def leads(self) -> bool:
        """Return whether it is ready as the leader."""
        lines = (await self.page("/readyz")).splitlines()
        return "ready" in lines and "[+]telegram ok" in lines

    async def stands_by(self) -> bool:
        """Return whether it is ready as a standby, and knows the leader."""
        text = await self.page("/readyz")
        is_standby = ": standby; the " in text and " is not known" not in text
        return is_standby and text.endswith("\nready\n")

    async def shows(self, text: str) -> None:
        """Wait until its page /status has a text."""

        async def has_it() -> bool:
            return text in await self.page("/status")

        await self.world.eventually(has_it)

    def signal(self, number: int) -> None:
        """Send a signal to its process."""
        assert self.child is not None
        self.child.process.send_signal(number)

    async def kill(self) -> None:
        """End it by SIGKILL."""
        self.signal(signal.SIGKILL)
        assert self.child is not None
        await self.child.process.wait()

    async def stop(self) -> int:
        """End it by SIGTERM; return its exit code."""
        assert self.child is not None
        return await self.child.stop()

    @property
    def log(self) -> str:
        """Return what it has logged."""
        assert self.child is not None
        return self.child.output.read_text(errors="replace")


class Pair:
    """Two replicas of a world, of which the first one leads."""

    def __init__(self, world: World, url: str, **settings: str) -> None:
        self.world = world
        self._url = url
        self.first = Replica(world, url, "first", **settings)
        self.second = Replica(world, url, "second", **settings)

    async def start(self) -> None:
        """Start both."""
        await self.first.start()
        await self.world.eventually(self.first.leads)
        await self.second.start()
        await self.world.eventually(self.second.stands_by)

    async def exchange(self, text: str) -> None:
        """
        Write a message; wait until it has an answer, and has only one.

        Its row is closed: if a replica ended before that, it would be sent again.
        """
        self.world.server.send(ADA, text)
        await self.world.eventually(lambda: text in self.world.replies.to(ADA))
        await self.world.eventually(lambda: asyncio.to_thread(self._all_closed))
        assert self.world.replies.to(ADA).count(text) == 1

    def _all_closed(self) -> bool:
        """Return whether no row is open."""
        with psycopg.connect(self._url) as connection:
            found = connection.execute(
                "SELECT 1 FROM rows WHERE disposition IS NULL LIMIT 1"
            )
            return found.fetchone() is None


@pytest.fixture
async def pair(world: World, database_url: str) -> Pair:
    """Return two replicas that run."""
    both = Pair(world, database_url)
    await both.start()
    return both


async def test_the_leader_is_killed(pair: Pair) -> None:
    """One replica polls; after `kill -9` the other one does, without a conflict."""
    await pair.exchange("one")
    assert pair.world.server.calls["deletewebhook"] == 1
    await pair.second.shows("standby, the leader is")
    await pair.first.kill()
    await pair.world.eventually(pair.second.leads)
    await pair.exchange("two")

    await pair.second.shows(": the leader; ")
    assert "poll failed" not in pair.second.log


async def test_the_leader_is_paused_for_longer_than_its_lease(pair: Pair) -> None:
    """What its late poll brings is not stored, and it does not poll again."""
    await pair.exchange("one")
    pair.first.signal(signal.SIGSTOP)
    # Telegram answers the poll of the paused leader with it.
    await pair.exchange("two")
    await pair.world.eventually(pair.second.leads)
    pair.first.signal(signal.SIGCONT)
    await pair.world.eventually(pair.first.stands_by)
    await pair.exchange("three")

    assert pair.world.replies.to(ADA) == ["one", "two", "three"]
    assert "Task exception" not in pair.first.log
    for each in (pair.first, pair.second):
        await each.shows(
            '"crocbot_telegram_reconnects_total{reason=\\"conflict\\"}": 0'
        )


async def test_the_leader_stops(pair: Pair) -> None:
    """The lease is given back at once; the webhook and the updates stay."""
    await pair.exchange("one")
    assert await pair.first.stop() == 0
    await pair.world.eventually(pair.second.leads)
    await pair.exchange("two")

    assert "this replica is the leader now" in pair.second.log


async def test_another_program_polls(pair: Pair) -> None:
    """Its conflicts are counted, like those of a gateway alone."""
    pair.world.server.fault("getUpdates", faults.other_poller(), times=3)

    await pair.first.shows('{reason=\\"conflict\\"}": 3')


async def test_all_replicas_serve_the_webhook(world: World, database_url: str) -> None:
    """Only the leader sets it, and none deletes it at its end."""
    ports = [free_port(), free_port()]
    replicas = [
        Replica(
            world,
            database_url,
            f"replica-{port}",
            # As behind a balancer, here of the replica that starts last.
            CROCBOT_WEBHOOK_URL=f"http://{HOST}:{ports[1]}/hook",
            CROCBOT_WEBHOOK_LISTEN=f"{HOST}:{port}",
        )
        for port in ports
    ]
    await replicas[0].start()
    await world.eventually(replicas[0].leads)
    await replicas[1].start()
    await world.eventually(replicas[1].stands_by)
    world.server.send(ADA, "by the standby")
    await world.eventually(lambda: "by the standby" in world.replies.to(ADA))

    assert world.server.calls["setwebhook"] == 1
    for each in replicas:
        assert await each.stop() == 0
    assert world.server.calls["deletewebhook"] == 0
