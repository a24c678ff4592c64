"""
The gateway's numbers as a real Prometheus has them: every panel shows something, the
ledger closes after a crash, and what is lost on the way is found.

    gateway --> relay, which drops what it is told to --> bridge <-- Prometheus
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from crocbot.sandbox import faults, users
from crocbot.sandbox.users import SimulatedUser
from tests.end_to_end.world import World
from tests.ports import HOST, free_port

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "compose" / "grafana" / "dashboards" / "crocbot.json"
RULES = ROOT / "compose" / "prometheus" / "rules" / "crocbot.yml"
PROMETHEUS = shutil.which("prometheus")

pytestmark = pytest.mark.skipif(
    PROMETHEUS is None, reason="prometheus is not installed"
)

# Panels with a query that may find nothing though all is well.
MAY_BE_EMPTY = {
    "Not understood": "the bridge understood everything",
    "Series": "no series was refused",
}


# They say nothing about a window with a restart in it: shown before it.
WITHOUT_RESTART = {"Telemetry loss", "Lines lost on the way"}


class Prometheus:
    """One that scrapes a page each second, with the rules of this project."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def ask(self, query: str) -> list[dict[str, Any]]:
        """Evaluate a query now; an answer that is no success fails the test."""
        async with self._session.get(
            f"{self.url}/api/v1/query", params={"query": query}
        ) as answer:
            found = await answer.json()
        assert found["status"] == "success", (query, found)
        return list(found["data"]["result"])

    async def value(self, query: str) -> float | None:
        """The one value that a query finds; None if it finds nothing."""
        found = await self.ask(query)
        assert len(found) <= 1, (query, found)
        return float(found[0]["value"][1]) if found else None

    async def ready(self) -> bool:
        """Whether it answers."""
        try:
            async with self._session.get(f"{self.url}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False


@asynccontextmanager
async def prometheus(world: World) -> AsyncIterator[Prometheus]:
    """Run one beside the bridge of a world."""
    port = free_port()
    config = world.home / "prometheus.yml"
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(RULES)],
                "scrape_configs": [
                    {
                        "job_name": "bridge",
                        "static_configs": [{"targets": [f"{HOST}:{world.web_port}"]}],
                    }
                ],
            }
        )
    )
    with (world.home / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(PROMETHEUS),
            f"--config.file={config}",
            f"--storage.tsdb.path={world.home / 'tsdb'}",
            f"--web.listen-address={HOST}:{port}",
            "--log.level=warn",
            stdout=log,
            stderr=log,
        )
    try:
        async with aiohttp.ClientSession() as session:
            server = Prometheus(f"http://{HOST}:{port}", session)
            await world.eventually(server.ready)
            yield server
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


class Relay(asyncio.DatagramProtocol):
    """Hands datagrams on, but for one in `drop_each`, whose lines it counts."""

    def __init__(self, port: int) -> None:
        self.drop_each = 0
        self.passed = self.dropped = 0
        self._seen = 0
        self._to = (HOST, port)

    def connection_made(self, transport: Any) -> None:
        """Keep the way out."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Pass it on, or not."""
        self._seen += 1
        lines = data.count(b"\n") + 1
        if self.drop_each and self._seen % self.drop_each == 0:
            self.dropped += lines
            return
        self.passed += lines
        self._transport.sendto(data, self._to)


@asynccontextmanager
async def relay(world: World) -> AsyncIterator[tuple[Relay, int]]:
    """Stand before the bridge of a world; gives the relay and its port."""
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Relay(world.statsd_port), local_addr=(HOST, 0)
    )
    try:
        yield protocol, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


async def complete(request: web.Request) -> web.StreamResponse:
    """Answer as an OpenAI-compatible server does: the same words, in two pieces."""
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
    """One chunk of a streamed completion."""
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
    """Run a model server; gives the settings of a gateway that asks it."""
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


def queries() -> list[tuple[str, str]]:
    """Every query of the dashboard with its panel's title, variables filled in."""
    return [
        (
            panel["title"],
            target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*"),
        )
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel.get("targets", [])
    ]


def shows(found: list[dict[str, Any]]) -> bool:
    """Whether there is something to draw: a value that is a number."""
    return any(one["value"][1] != "NaN" for one in found)


async def everything_that_happens(world: World) -> None:
    """People talk, and Telegram has some of its bad moments."""
    stop = asyncio.Event()
    talking = asyncio.create_task(world.talk(stop))
    world.server.fault("sendMessage", faults.flood_wait(1))
    world.server.fault("sendMessage", faults.bad_gateway())
    world.server.fault("getUpdates", faults.bad_gateway())
    goal = world.users.answered.total() + 25
    await world.eventually(lambda: world.users.answered.total() >= goal)
    stop.set()
    await talking


async def drawn(world: World, server: Prometheus, titles: set[str]) -> None:
    """Wait until every query of these panels finds something."""

    async def empty() -> list[tuple[str, str]]:
        return [
            (title, query)
            for title, query in queries()
            if title in titles and not shows(await server.ask(query))
        ]

    async def all_show() -> bool:
        return not await empty()

    try:
        await world.eventually(all_show)
    except TimeoutError:
        pytest.fail(f"nothing to draw for {await empty()}")


async def test_every_panel_shows_something(world: World) -> None:
    """After the echo and a scripted model no query is empty, but for a listed few."""
    pytest.importorskip("openai", reason="the extra `openai` is not installed")

    async with scripted_model() as model:
        await world.start_bridge()
        async with prometheus(world) as server:
            gateway = await world.start_gateway()
            await everything_that_happens(world)
            await drawn(world, server, WITHOUT_RESTART)
            assert await gateway.stop() == 0
            gateway = await world.start_gateway(**model)
            await everything_that_happens(world)
            titles = {title for title, _ in queries()}
            await drawn(world, server, titles - WITHOUT_RESTART - set(MAY_BE_EMPTY))
            tokens = await server.ask("crocbot_agent_tokens_total > 0")

            assert len(tokens) == 2
            assert await gateway.stop() == 0


async def test_the_ledger_closes_after_a_crash(world: World) -> None:
    """A gateway is killed at work; once all is quiet, accepted is ended and open."""
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


async def known(server: Prometheus) -> bool:
    """Return whether the rule of telemetry loss has a value."""
    return await server.value("crocbot:telemetry_loss:ratio5m") is not None


async def test_forced_loss_is_found(world: World) -> None:
    """One datagram in three is dropped on the way: the rule finds it within 1 %."""
    async with relay(world) as (between, port):
        await world.start_bridge()
        async with prometheus(world) as server:
            gateway = await world.start_gateway(CROCBOT_STATSD_PORT=str(port))
            await world.eventually(lambda: known(server))
            assert not await server.value("crocbot:telemetry_loss:ratio5m")

            between.drop_each = 3
            while between.dropped < 300:
                await asyncio.gather(
                    *(write_many(user) for user in world.users.members)
                )
            between.drop_each = 0

            async def found() -> float:
                """Lines lost since the first scrape, as Prometheus has it."""
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


# increase() answers for the whole window, which is longer than the test: back to what
# was seen of it.
SCALE = re.sub(
    r"\s+",
    " ",
    """
    (crocbot_emitter_lines_sent - min_over_time(crocbot_emitter_lines_sent[5m]))
    / crocbot:telemetry_sent_lines:increase5m
    """,
)
