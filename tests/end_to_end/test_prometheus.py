"""
The gateway's numbers as a real Prometheus has them: every panel shows something, the
ledger closes after a crash, and what is lost on the way is found.

    gateway --> relay, which drops what it is told to --> bridge <-- Prometheus
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from crocbot.sandbox import Person, faults, messages, users
from crocbot.sandbox.users import SimulatedUser
from tests.crocbot.transcription_server import TranscriptionServer
from tests.end_to_end.prometheus import PROMETHEUS, Prometheus, prometheus, queries
from tests.end_to_end.world import World
from tests.ports import HOST
from tests.postgresql import find_programs

SPEAKER = Person(4711, "Ada")

pytestmark = pytest.mark.skipif(
    PROMETHEUS is None, reason="prometheus is not installed"
)

# Panels with a query that may be empty although everything works.
MAY_BE_EMPTY = {
    "Firing alerts": "nothing is wrong",
    "Rejected and unmapped": "the bridge understood everything",
    "Series": "no series was refused",
}


# Only with PostgreSQL, and of these the query that is empty while nothing failed.
OF_A_DATABASE = {"Leader", "Chats by replica", "Answers of PostgreSQL"}
DATABASE_FAILED = 'crocbot_database_seconds_count{instance=~".*",outcome="failed"}'

# Their queries are empty for a window with a restart: checked before it.
WITHOUT_RESTART = {"Telemetry loss", "Lost lines"}


class Relay(asyncio.DatagramProtocol):
    """Forwards datagrams; drops one in `drop_each` and counts its lines."""

    def __init__(self, port: int) -> None:
        self.drop_each = 0
        self.passed = self.dropped = 0
        self._seen = 0
        self._to = (HOST, port)

    def connection_made(self, transport: Any) -> None:
        """Store the transport."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Forward or drop a datagram."""
        self._seen += 1
        lines = data.count(b"\n") + 1
        if self.drop_each and self._seen % self.drop_each == 0:
            self.dropped += lines
            return
        self.passed += lines
        self._transport.sendto(data, self._to)


@asynccontextmanager
async def relay(world: World) -> AsyncIterator[tuple[Relay, int]]:
    """Run a relay to the bridge of a world; yield it and its port."""
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Relay(world.statsd_port), local_addr=(HOST, 0)
    )
    try:
        yield protocol, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


async def complete(request: web.Request) -> web.StreamResponse:
    """Stream the text of the message in two chunks of a chat completion."""
    asked = (await request.json())["messages"][-1]["content"]
    words = asked if isinstance(asked, str) else asked[0]["text"]
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    half = len(words) // 2
    for piece in (words[:half], words[half:]):
        await response.write(event(choices=[{"index": 0, "delta": {"content": piece}}]))
        await asyncio.sleep(0.05)
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    await response.write(event(choices=[], usage=usage))
    await response.write(b"data: [DONE]\n\n")
    return response


def event(**parts: Any) -> bytes:
    """Return one chunk of a streamed completion."""
    chunk = {
        "id": "1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "scripted",
        **parts,
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


@asynccontextmanager
async def scripted_model() -> AsyncIterator[dict[str, str]]:
    """Run a model server; yield the settings of a gateway that uses it."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, 0)
        await site.start()
        port = runner.addresses[0][1]
        yield {
            "CROCBOT_AGENT": "openai",
            "CROCBOT_MODEL": "scripted",
            "OPENAI_BASE_URL": f"http://{HOST}:{port}/v1",
            "OPENAI_API_KEY": "sk-opens-nothing",
        }
    finally:
        await runner.cleanup()


def shows(found: list[dict[str, Any]]) -> bool:
    """Return whether a result has a value that is a number."""
    return any(one["value"][1] != "NaN" for one in found)


async def generate_traffic(world: World) -> None:
    """Let users write while Telegram answers some calls with errors."""
    stop = asyncio.Event()
    talking = asyncio.create_task(world.talk(stop))
    world.server.fault("sendMessage", faults.flood_wait(1))
    world.server.fault("sendMessage", faults.bad_gateway())
    world.server.fault("getUpdates", faults.bad_gateway())
    world.server.upload("voice", b"OggS" + bytes(1000))
    world.server.send(SPEAKER, messages.voice())
    goal = world.users.answered.total() + 25
    await world.eventually(lambda: world.users.answered.total() >= goal)
    stop.set()
    await talking


async def wait_until_shown(world: World, server: Prometheus, titles: set[str]) -> None:
    """Wait until every query of these panels has a result."""

    async def empty() -> list[tuple[str, str]]:
        return [
            (title, query)
            for title, query in queries()
            if title in titles
            and DATABASE_FAILED not in query
            and not shows(await server.query(query))
        ]

    async def all_show() -> bool:
        return not await empty()

    try:
        await world.eventually(all_show)
    except TimeoutError:
        pytest.fail(f"nothing to draw for {await empty()}")


async def test_every_panel_shows_something(
    world: World, request: pytest.FixtureRequest
) -> None:
    """With the echo and a model no query is empty, except the listed ones."""
    pytest.importorskip("openai", reason="the extra `openai` is not installed")
    database, not_shown = {}, WITHOUT_RESTART | set(MAY_BE_EMPTY)
    if find_programs() is None:
        not_shown |= OF_A_DATABASE
    else:
        database["CROCBOT_DATABASE_URL"] = request.getfixturevalue("database_url")

    async with scripted_model() as model, TranscriptionServer() as transcriptions:
        model["CROCBOT_TRANSCRIBE_URL"] = transcriptions.url
        await world.start_bridge()
        async with prometheus(world) as server:
            gateway = await world.start_gateway(
                CROCBOT_TRANSCRIBE_URL=transcriptions.url
            )
            await generate_traffic(world)
            await wait_until_shown(world, server, WITHOUT_RESTART)
            assert await gateway.stop() == 0
            prices = world.home / "prices.toml"
            prices.write_text("[scripted]\ninput = 1\noutput = 2\n")
            gateway = await world.start_gateway(
                **model, **database, CROCBOT_PRICES=str(prices)
            )
            await generate_traffic(world)
            titles = {title for title, _ in queries()}
            await wait_until_shown(world, server, titles - not_shown)
            tokens = await server.query("crocbot_agent_tokens_total > 0")

            assert len(tokens) == 2
            assert await gateway.stop() == 0


async def test_the_ledger_closes_after_a_crash(world: World) -> None:
    """After kills, Prometheus has accepted rows = closed + open rows."""
    await world.start_bridge()
    async with prometheus(world) as server:
        for _ in range(3):
            gateway = await world.start_gateway()
            for talker in world.users.members:
                talker.send(users.text("hello"))
            await world.eventually(lambda: world.server.calls["sendmessage"])
            gateway.process.kill()
            await gateway.process.wait()
        gateway = await world.start_gateway()

        async def ledger() -> list[float | None]:
            return [
                await server.value("crocbot_inbox_accepted_rows"),
                await server.value("crocbot_inbox_open_rows"),
                await server.value("crocbot:ledger:difference_rows"),
            ]

        async def closes() -> bool:
            return await ledger() == [3 * len(world.users.members), 0, 0]

        try:
            await world.eventually(closes)
        except TimeoutError:
            pytest.fail(f"accepted, open, difference: {await ledger()}")
        assert await gateway.stop() == 0


async def write_many(user: SimulatedUser) -> None:
    """Let a user write ten messages, and wait for the answers."""
    for _ in range(10):
        user.send(users.text("lost?"))
    assert await user.wait_answered()


async def no_loss(server: Prometheus) -> bool:
    """Return whether the rule of telemetry loss has a value, and that is 0."""
    return await server.value("crocbot:telemetry_loss:ratio5m") == 0


async def test_forced_loss_is_found(world: World) -> None:
    """One datagram in three is dropped: the recording rule is right within 1 %."""
    async with relay(world) as (between, port):
        await world.start_bridge()
        async with prometheus(world) as server:
            gateway = await world.start_gateway(CROCBOT_STATSD_PORT=str(port))
            await world.eventually(lambda: no_loss(server))

            between.drop_each = 3
            while between.dropped < 300:
                await asyncio.gather(
                    *(write_many(user) for user in world.users.members)
                )
            between.drop_each = 0

            async def found() -> float:
                """Return the lines lost since the first scrape by the rule."""
                lost = await server.value("crocbot:telemetry_lost_lines:increase5m")
                scale = await server.value(SCALE)
                return (lost or 0) * (scale or 0)

            async def right() -> bool:
                return abs(await found() - between.dropped) <= between.dropped / 100

            try:
                await world.eventually(right)
            except TimeoutError:
                pytest.fail(f"{await found()} found, {between.dropped} dropped")
            assert await gateway.stop() == 0


# increase() extrapolates to its window, which is longer than the test; this undoes it.
SCALE = re.sub(
    r"\s+",
    " ",
    """
    (crocbot_emitter_lines_sent - min_over_time(crocbot_emitter_lines_sent[5m]))
    / crocbot:telemetry_sent_lines:increase5m
    """,
)
