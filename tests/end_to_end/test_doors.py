"""Half requests at the health address and at the webhook: the gateway goes on."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from crocbot.botapi.webhook import HEADER
from crocbot.sandbox import Person
from tests.end_to_end.world import World
from tests.ports import HOST, free_port

ADA = Person(1001, "Ada")
OPEN_FILES = 256
HALF_REQUESTS = 400
SOFT_LIMIT = 64
SECRET = "a-secret-of-the-operator"
SEGMENT = "0123456789abcdefghij"


@asynccontextmanager
async def gateway_with_few_files(world: World, **settings: str) -> AsyncIterator[Path]:
    """Run a gateway that may have 256 open files; yield the file of its log."""
    log = world.home / "gateway.log"
    with log.open("w") as stderr:
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", f'ulimit -n {OPEN_FILES}; exec "$0" -m crocbot gateway'),
            sys.executable,
            env={**world.settings(), **settings, "CROCBOT_STATSD_HOST": "off"},
            cwd=Path(__file__).parents[2],
            stderr=stderr,
        )
    try:
        yield log
        process.terminate()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def half_requests(port: int) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Keep many connections open, each with the beginning of a head."""
    async with asyncio.timeout(60):
        pairs = [
            await asyncio.open_connection(HOST, port) for _ in range(HALF_REQUESTS)
        ]
    for _, writer in pairs:
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nX-")
    try:
        yield [reader for reader, _ in pairs]
    finally:
        for _, writer in pairs:
            writer.close()


async def status(url: str, method: str = "GET", **options: object) -> int:
    """Return the status of a request, 0 if there is no answer."""
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, **options) as response,  # type: ignore[arg-type]
        ):
            return response.status
    except aiohttp.ClientError:
        return 0


async def ready(world: World) -> bool:
    """Return whether the gateway is ready, which a slow disk may prevent for once."""
    return await status(f"{world.health_url}/readyz") == 200


async def close_all(readers: list[asyncio.StreamReader]) -> None:
    """Wait until the server has closed every connection."""

    async def closed(reader: asyncio.StreamReader) -> None:
        try:
            await reader.read()
        except ConnectionError:
            pass

    async with asyncio.timeout(60):
        await asyncio.gather(*map(closed, readers))


async def test_half_requests_at_the_health_address(world: World) -> None:
    """Pages and answers are not affected, and the log stays short."""
    async with gateway_with_few_files(world) as log:
        await world.eventually(lambda: world.server.calls["getupdates"])
        async with half_requests(world.health_port) as readers:
            assert await status(f"{world.health_url}/healthz") == 200
            await world.eventually(lambda: ready(world))
            await world.exchange("hello")
            await close_all(readers)
        assert len(log.read_text().splitlines()) < 50
        assert log.read_text().count("too many connections to an HTTP server") == 1


async def test_half_requests_at_the_webhook(world: World) -> None:
    """Telegram gets through, and half a head is closed after its time."""
    port = free_port()
    url = f"http://{HOST}:{port}/{SEGMENT}"
    async with gateway_with_few_files(
        world,
        CROCBOT_WEBHOOK_URL=url,
        CROCBOT_WEBHOOK_LISTEN=f"{HOST}:{port}",
        CROCBOT_WEBHOOK_SECRET=SECRET,
    ) as log:
        await world.eventually(lambda: world.server.calls["setwebhook"])
        async with half_requests(port) as readers:
            world.server.send(ADA, "hello")
            await world.eventually(lambda: world.replies.to(ADA) == ["hello"])
            update = json.dumps({"update_id": 1})
            assert (
                await status(url, "POST", data=update, headers={HEADER: SECRET}) == 200
            )
            await world.eventually(lambda: ready(world))
            await close_all(readers)
        assert log.read_text().count("too many connections to an HTTP server") == 1


async def test_the_limit_of_open_files_is_raised(world: World) -> None:
    """A gateway that starts with a low soft limit raises it to the hard one."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", f'ulimit -Sn {SOFT_LIMIT}; exec "$0" -m crocbot gateway'),
        sys.executable,
        env={**world.settings(), "CROCBOT_STATSD_HOST": "off"},
        cwd=Path(__file__).parents[2],
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await world.eventually(lambda: world.server.calls["getupdates"])
        async with half_requests(world.health_port):
            assert await status(f"{world.health_url}/healthz") == 200
        assert open_files(process.pid) > SOFT_LIMIT
    finally:
        process.terminate()
        assert await process.wait() == 0


def open_files(pid: int) -> int:
    """Return the soft limit of open files of a process."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(int(line.split()[3]) for line in lines if line.startswith("Max open"))
