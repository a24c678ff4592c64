"""
A sandbox Telegram and the programs that a test starts beside it.

    async def test_it(world: World) -> None:
        await world.start_bridge()        python -m statsd_bridge
        await world.start_gateway()       python -m crocbot gateway
        await world.eventually(...)       wait for a condition; tests never just sleep
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import aiohttp

from crocbot.sandbox import Person, Server, children, metrics_page, users
from crocbot.sandbox.children import Child
from crocbot.sandbox.users import PEOPLE, Users
from tests.ports import HOST, free_port

TIMEOUT_SECONDS = 90.0
STEPPED_CLOCK = Path(__file__).with_name("stepped_clock")


class Replies:
    """The texts of the bot's messages as they are now, by chat and message."""

    def __init__(self) -> None:
        self._texts: dict[int, dict[int, str]] = {}

    def record(self, sent: Mapping[str, Any]) -> None:
        """Record a message, new or edited."""
        chat = self._texts.setdefault(sent["chat"]["id"], {})
        chat[sent["message_id"]] = sent.get("text", "")

    def to(self, person: Person) -> list[str]:
        """Return the texts that a person has received, the oldest first."""
        return list(self._texts.get(person.user_id, {}).values())


class SteppedClock:
    """A system clock that a test steps, for programs that start with `settings`."""

    def __init__(self, home: Path) -> None:
        self._file = home / "clock"
        self._file.write_text("0")
        root = str(Path(__file__).parents[2])
        self.settings: Mapping[str, str] = {
            "PYTHONPATH": os.pathsep.join([str(STEPPED_CLOCK), root]),
            "STEPPED_CLOCK_FILE": str(self._file),
        }

    def step(self, seconds: float) -> None:
        """Add to the system's time."""
        seconds += float(self._file.read_text())
        # Replaced as a whole, since a program may read it at any time.
        new = self._file.with_name("new clock")
        new.write_text(str(seconds))
        new.rename(self._file)


class World:
    """A sandbox, the ports of a bridge and a gateway, and what a test has started."""

    def __init__(self, home: Path, server: Server, stack: AsyncExitStack) -> None:
        self.home = home
        self.server = server
        self.statsd_port = free_port()
        self.web_port = free_port()
        self.health_port = free_port()
        self.url = f"http://{HOST}:{self.web_port}/metrics"
        self.health_url = f"http://{HOST}:{self.health_port}"
        self.database = home / "state" / "crocbot.sqlite3"
        self.clock = SteppedClock(home)
        self.users = Users(PEOPLE, server)
        self.replies = Replies()
        server.listen(self.replies.record)
        self._stack = stack
        self._started = 0

    async def start_bridge(self) -> Child:
        """Start the bridge, each time on the same ports; return once it has a page."""
        bridge = await self.start(
            "statsd_bridge",
            f"--statsd.mapping-config={files('crocbot') / 'mapping.yml'}",
            f"--statsd.listen-udp={HOST}:{self.statsd_port}",
            "--statsd.listen-tcp=",
            f"--web.listen-address={HOST}:{self.web_port}",
        )
        await children.while_alive(self.eventually(self.has_page), bridge)
        return bridge

    async def start_gateway(self, *program: str, **settings: str) -> Child:
        """Start the gateway, or another program like it; return once it polls."""
        polls = self.server.calls["getupdates"]
        gateway = await self.start(
            *(program or ("crocbot", "gateway")), **{**self.settings(), **settings}
        )
        await children.while_alive(
            self.eventually(lambda: self.server.calls["getupdates"] > polls), gateway
        )
        return gateway

    async def start(self, *arguments: str, **settings: str) -> Child:
        """Start `python -m` with these arguments in a folder of its own."""
        self._started += 1
        home = self.home / f"{self._started}-{arguments[0]}"
        home.mkdir()
        child = children.start(
            name=arguments[0],
            arguments=arguments,
            home=home,
            environment=os.environ,
            settings=settings,
        )
        return await self._stack.enter_async_context(child)

    def settings(self) -> dict[str, str]:
        """Return the environment of a gateway that answers everyone."""
        return {
            "TELEGRAM_BOT_TOKEN": self.server.token,
            "CROCBOT_TELEGRAM_API_URL": self.server.url,
            "CROCBOT_ACCESS": "open",
            "CROCBOT_STATSD_PORT": str(self.statsd_port),
            "CROCBOT_HEALTH_ADDRESS": f"{HOST}:{self.health_port}",
            "CROCBOT_STATE_DIR": str(self.home / "state"),
        }

    async def talk(self, stop: asyncio.Event) -> None:
        """Let all users write until `stop` is set and everything is answered."""
        await self.users.converse(stop, random.Random(1))

    async def exchange(self, text: str) -> None:
        """Let one user write a text, and wait for the answer."""
        user = self.users.members[0]
        user.send(users.text(text))
        assert await user.wait_answered(TIMEOUT_SECONDS), self.users.mistakes

    async def text(self) -> str:
        """Return the bridge's page."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.url) as response,
        ):
            assert response.status == 200
            return await response.text()

    async def has_page(self) -> bool:
        """Return whether the bridge serves its page."""
        try:
            return bool(await self.text())
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def is_ready(self) -> bool:
        """Return whether /readyz of the gateway says so; it knows for some seconds."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{self.health_url}/readyz") as response,
            ):
                return response.status == 200
        except aiohttp.ClientError:
            return False

    async def values(self, name: str) -> Mapping[str, float]:
        """Return the values of one metric by its label values, joined with blanks."""
        return metrics_page.by_label(metrics_page.read(await self.text()), name)

    async def counted(
        self, reasons: Mapping[str, int], severities: Mapping[str, int]
    ) -> bool:
        """Return whether these are all errors of the agent, by reason and severity."""
        found = await self.values("crocbot_agent_errors_total")
        errors = await self.values("crocbot_errors_total")
        return {
            reason: count for reason, count in found.items() if count
        } == reasons and all(
            errors.get(f"{severity} agent") == count
            for severity, count in severities.items()
        )

    async def logs(self, program: Child, text: str) -> None:
        """Wait until a program has logged a text."""
        await self.eventually(
            lambda: text in program.output.read_text(errors="replace")
        )

    async def eventually(self, condition: Callable[[], Any]) -> Any:
        """Wait until a condition, which may be a coroutine function, is true."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                result = condition()
                if isinstance(result, Awaitable):
                    result = await result
                if result:
                    return result
                await asyncio.sleep(0.05)


@asynccontextmanager
async def open_world(home: Path, *, old: bool = False) -> AsyncIterator[World]:
    """Run a sandbox; at the end stop everything that the test has started."""
    async with Server(old=old) as server, AsyncExitStack() as stack:
        yield World(home, server, stack)
