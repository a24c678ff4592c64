"""The gateway as a process: start, errors, restart and end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.end_to_end.programs import Run
from tests.end_to_end.world import World
from tests.ports import free_port

TOKEN = "4242424242:AAsandbox-token-that-opens-nothing00"


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"CROCBOT_STATSD_PORT": "99999"}, "CROCBOT_STATSD_PORT is '99999'"),
        ({"CROCBOT_STATE_DIR": "/dev/null/state"}, "CROCBOT_STATE_DIR"),
    ],
)
def test_a_mistake_is_one_line(run: Run, settings: dict[str, str], error: str) -> None:
    """A setting that the operator must change is one line, and exit code 2."""
    settings = {"TELEGRAM_BOT_TOKEN": TOKEN, **settings}
    code, output, errors = run("crocbot", "gateway", **settings).end()

    assert (code, output) == (2, "")
    assert len(errors.splitlines()) == 1
    assert errors.startswith(f"crocbot: {error}")
    assert TOKEN not in errors


@pytest.mark.parametrize("host", ["no-such-host.invalid", "off", "127.0.0.1"])
async def test_people_are_answered_without_a_bridge(world: World, host: str) -> None:
    """Without a name, a receiver or telemetry at all, people are answered."""
    gateway = await world.start_gateway(CROCBOT_STATSD_HOST=host)
    await world.exchange("is anybody there?")

    assert await gateway.stop() == 0
    assert world.users.mistakes == []
    assert "Traceback" not in gateway.output.read_text()


def test_waiting_for_telegram(run: Run, tmp_path: Path) -> None:
    """Without a network the gateway retries, is not ready, and stops when asked."""
    health = free_port()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gateway = run(
            *("crocbot", "gateway"),
            TELEGRAM_BOT_TOKEN=TOKEN,
            CROCBOT_TELEGRAM_API_URL=f"http://127.0.0.1:{unused.getsockname()[1]}",
            CROCBOT_STATSD_HOST="off",
            CROCBOT_STATE_DIR=str(tmp_path / "state"),
            CROCBOT_HEALTH_ADDRESS=f"127.0.0.1:{health}",
        )
        gateway.read_errors_until("cannot be reached")
        with pytest.raises(HTTPError) as not_ready:
            urlopen(f"http://127.0.0.1:{health}/readyz")
        with not_ready.value as answer:
            assert answer.status == 503
            page = answer.read().decode()
        assert "[-]telegram failed: not reached yet: " in page
        assert "Connect call failed" in page
        gateway.process.terminate()
        code, _, errors = gateway.end()

    assert code == 0
    assert "Traceback" not in errors


async def test_many_signals(world: World) -> None:
    """Exit code 0 and no traceback, also if signals arrive until the end."""
    gateway = await world.start_gateway()
    process = gateway.process
    while process.returncode is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)
        await asyncio.sleep(0)

    assert process.returncode == 0
    assert "Traceback" not in gateway.output.read_text()


async def test_messages_between_two_runs(world: World) -> None:
    """Messages from before the start and between two runs are answered in order."""
    stop = asyncio.Event()
    talking = asyncio.create_task(world.talk(stop))
    first = await world.start_gateway()
    await world.eventually(lambda: world.users.answered.total() >= 10)
    assert await first.stop() == 0
    second = await world.start_gateway()
    await world.eventually(lambda: world.users.answered.total() >= 30)
    stop.set()
    await talking

    assert await second.stop() == 0
    assert world.users.mistakes == []
    assert world.users.answered == world.users.sent
