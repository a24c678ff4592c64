"""
The sandbox, the bridge and the gateway, each started when the one before is ready.

    async with start(environment) as processes: ...     all have ended afterwards
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
from prometheus_client.samples import Sample

from crocbot.sandbox import children, metrics_page
from crocbot.sandbox.children import Child, ChildError
from crocbot.sandbox.server import Server

HOST = "127.0.0.1"
STATSD_PORT, WEB_PORT = 9125, 9102
START_SECONDS = 60.0
CHECK_SECONDS = 0.05
READ_TIMEOUT = aiohttp.ClientTimeout(total=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """Everything that runs, and where the bridge listens."""

    server: Server
    bridge: Child
    gateway: Child
    statsd: str
    metrics_url: str
    session: aiohttp.ClientSession

    async def samples(self) -> list[Sample]:
        """Return the samples of the bridge's metrics page; raises ChildError."""
        return metrics_page.read(await _get(self.session, self.metrics_url))


@asynccontextmanager
async def start(
    environment: Mapping[str, str], *, own_agent: bool = False
) -> AsyncIterator[Processes]:
    """
    Start all; raises ChildError if one does not become ready.

    With `own_agent` the gateway has the agent that is set in the environment.
    """
    statsd_port = free_port(STATSD_PORT, socket.SOCK_DGRAM)
    web_port = free_port(WEB_PORT, socket.SOCK_STREAM)
    url = f"http://{HOST}:{web_port}/metrics"
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(prefix="crocbot-demo-")))
        mapping = stack.enter_context(as_file(files("crocbot") / "mapping.yml"))
        server = await stack.enter_async_context(Server())
        session = await stack.enter_async_context(aiohttp.ClientSession())
        bridge = await stack.enter_async_context(
            children.start(
                name="bridge",
                arguments=_bridge_command(mapping, statsd_port, web_port),
                home=home,
                environment=environment,
            )
        )
        await _wait_ready(bridge, _until_served(session, url), "serves no page")
        gateway = await stack.enter_async_context(
            children.start(
                name="gateway",
                home=home,
                environment=environment,
                **_gateway(
                    _gateway_settings(server, statsd_port, home), own_agent=own_agent
                ),
            )
        )
        await _wait_ready(gateway, _until_polling(server), "does not poll")
        yield Processes(
            server=server,
            bridge=bridge,
            gateway=gateway,
            statsd=f"{HOST}:{statsd_port}",
            metrics_url=url,
            session=session,
        )


def _bridge_command(mapping: Path, statsd_port: int, web_port: int) -> list[str]:
    return [
        "statsd_bridge",
        f"--statsd.mapping-config={mapping}",
        f"--statsd.listen-udp={HOST}:{statsd_port}",
        "--statsd.listen-tcp=",
        f"--web.listen-address={HOST}:{web_port}",
    ]


def _gateway(settings: Mapping[str, str], *, own_agent: bool) -> dict[str, Any]:
    """Return how the gateway is started: with these settings only, or also others."""
    command = ["crocbot", "gateway"]
    if not own_agent:
        return {"arguments": command, "settings": settings}
    # Not as variables: those of `.env` and of the environment stay there.
    arguments = [*command, "--sandbox", json.dumps(settings)]
    return {"arguments": arguments, "settings_dir": Path.cwd()}


def _gateway_settings(server: Server, statsd_port: int, home: Path) -> dict[str, str]:
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


async def _wait_ready(
    child: Child, ready: Coroutine[Any, Any, None], problem: str
) -> None:
    """Wait until a child is ready; raises ChildError if it ends or is too late."""
    try:
        async with asyncio.timeout(START_SECONDS):
            await children.while_alive(ready, child)
    except TimeoutError:
        late = f"the {child.name} {problem} after {START_SECONDS:g} s"
        raise ChildError(f"{late}\n{child.tail()}") from None


async def _until_served(session: aiohttp.ClientSession, url: str) -> None:
    while True:
        with suppress(ChildError):
            await _get(session, url)
            return
        await asyncio.sleep(CHECK_SECONDS)


async def _until_polling(server: Server) -> None:
    while not server.calls["getupdates"]:  # noqa: ASYNC110 (calls are only counted)
        await asyncio.sleep(CHECK_SECONDS)


async def _get(session: aiohttp.ClientSession, url: str) -> str:
    try:
        async with session.get(url, timeout=READ_TIMEOUT) as response:
            response.raise_for_status()
            return await response.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ChildError(f"{url} cannot be read: {error}") from error


def free_port(preferred: int, type_: socket.SocketKind) -> int:
    """Return the preferred port if it is free, else a free one."""
    with socket.socket(socket.AF_INET, type_) as probe:
        if type_ is socket.SOCK_STREAM:
            # Connections in TIME_WAIT do not occupy the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, preferred))
        except OSError:
            probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
