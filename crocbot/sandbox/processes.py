"""
Everything that the demo needs, started in order and gone at the end.

    with stage(environment) as cast:    sandbox, then bridge, then gateway, each when
        ...                             the one before is ready
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from crocbot.sandbox import children, metrics_page
from crocbot.sandbox.children import Child, ChildError
from crocbot.sandbox.server import Server

HOST = "127.0.0.1"
STATSD_PORT, WEB_PORT = 9125, 9102
START_SECONDS = 60.0
LOOK_EVERY = 0.05
READ_TIMEOUT = aiohttp.ClientTimeout(total=5)


@dataclass(frozen=True, slots=True)
class Processes:
    """Everything that runs, and where the bridge listens."""

    server: Server
    bridge: Child
    gateway: Child
    statsd: str
    metrics_url: str
    session: aiohttp.ClientSession

    async def page(self) -> list[metrics_page.Series]:
        """Read the bridge's page."""
        return metrics_page.read(await _get(self.session, self.metrics_url))


@asynccontextmanager
async def stage(environment: Mapping[str, str]) -> AsyncIterator[Processes]:
    """Start server, bridge and gateway, each when the one before is ready."""
    statsd_port = free_port(STATSD_PORT, socket.SOCK_DGRAM)
    web_port = free_port(WEB_PORT, socket.SOCK_STREAM)
    url = f"http://{HOST}:{web_port}/metrics"
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(prefix="crocbot-demo-")))
        mapping = stack.enter_context(as_file(files("crocbot") / "mapping.yml"))
        server = await stack.enter_async_context(Server())
        session = await stack.enter_async_context(aiohttp.ClientSession())
        arguments = _bridge(mapping, statsd_port, web_port)
        bridge = await stack.enter_async_context(
            children.start("bridge", arguments, {}, home, environment)
        )
        await children.while_alive(_reachable(bridge, session, url), bridge)
        settings = _gateway(server, statsd_port, home)
        gateway = await stack.enter_async_context(
            children.start(
                "gateway", ["crocbot", "gateway"], settings, home, environment
            )
        )
        await children.while_alive(_polled(gateway, server), gateway)
        statsd = f"{HOST}:{statsd_port}"
        yield Processes(server, bridge, gateway, statsd, url, session)


def _bridge(mapping: Path, statsd_port: int, web_port: int) -> list[str]:
    """The command line of the bridge."""
    return [
        "statsd_bridge",
        f"--statsd.mapping-config={mapping}",
        f"--statsd.listen-udp={HOST}:{statsd_port}",
        "--statsd.listen-tcp=",
        f"--web.listen-address={HOST}:{web_port}",
    ]


def _gateway(server: Server, statsd_port: int, home: Path) -> dict[str, str]:
    """The environment of the gateway."""
    return {
        "TELEGRAM_BOT_TOKEN": server.token,
        "CROCBOT_TELEGRAM_API_URL": server.url,
        "CROCBOT_ACCESS": "open",
        "CROCBOT_STATSD_HOST": HOST,
        "CROCBOT_STATSD_PORT": str(statsd_port),
        "CROCBOT_HEALTH_ADDRESS": "off",
        "CROCBOT_STATE_DIR": str(home / "state"),
        "CROCBOT_LOG_LEVEL": "warning",
    }


async def _reachable(bridge: Child, session: aiohttp.ClientSession, url: str) -> None:
    """Wait until the page is there."""
    for _ in _looks(bridge, "serves no page"):
        with suppress(ChildError):
            await _get(session, url)
            return
        await asyncio.sleep(LOOK_EVERY)


async def _polled(gateway: Child, server: Server) -> None:
    """Wait until the gateway polls."""
    for _ in _looks(gateway, "does not poll"):
        if server.calls["getupdates"]:
            return
        await asyncio.sleep(LOOK_EVERY)


def _looks(child: Child, otherwise: str) -> Iterator[None]:
    """As many looks as there is time for; then ChildError."""
    for _ in range(round(START_SECONDS / LOOK_EVERY)):
        yield
    raise ChildError(
        f"the {child.name} {otherwise} after {START_SECONDS:g} s\n{child.tail()}"
    )


async def _get(session: aiohttp.ClientSession, url: str) -> str:
    try:
        async with session.get(url, timeout=READ_TIMEOUT) as response:
            response.raise_for_status()
            return await response.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ChildError(f"{url} cannot be read: {error}") from error


def free_port(preferred: int, kind: socket.SocketKind) -> int:
    """The preferred port if nobody has it, else a free one."""
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            # Connections that are closing already do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, preferred))
        except OSError:
            probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
