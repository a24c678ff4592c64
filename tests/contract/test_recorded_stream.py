"""
The datagrams of a real gateway, kept in a file: this bridge makes the expected page of
them, and an existing statsd_exporter the same one.

    python -m tests.contract.test_recorded_stream     records anew

data/gateway.json is a list of datagrams as text: a run against the sandbox with some
faults of Telegram, then a burst that overflows the reservoir of a timer, so that there
are lines with a sampling rate.  data/gateway.prom is the expected page; check its
changes before you commit it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from crocbot.model import Disposition, HostPort, MessageType, Outcome
from crocbot.sandbox import Server, children, faults, users
from crocbot.sandbox.users import PEOPLE, Users
from crocbot.telemetry import Telemetry
from crocbot.telemetry.emitter import MAX_DATAGRAM_BYTES
from tests.contract.in_memory_bridge import MAPPING, InMemoryBridge
from tests.ports import HOST, free_port

DATA = Path(__file__).parent / "data"
STREAM, PAGE = DATA / "gateway.json", DATA / "gateway.prom"
STATSD_EXPORTER = os.environ.get("STATSD_EXPORTER", "")
TIMEOUT_SECONDS = 60.0
SETTLING_SECONDS = 1.0
BURST = 5000
MIN_ANSWERS = 12


def page(datagrams: list[str]) -> str:
    """Return the page of a bridge that received them."""
    bridge = InMemoryBridge()
    bridge.feed(*[datagram.encode() for datagram in datagrams])
    return bridge.page()


@pytest.fixture(scope="module")
def stream() -> list[str]:
    """The recorded datagrams."""
    return list(json.loads(STREAM.read_text()))


def test_the_bridge_makes_the_expected_page(stream: list[str]) -> None:
    """Names, labels, types, help, buckets and numbers are those of the file."""
    assert_same(page(stream).split("\n"), PAGE.read_text().split("\n"))


def test_every_datagram_fits_a_frame(stream: list[str]) -> None:
    """They are under 1,432 bytes, and several lines share one."""
    assert all(0 < len(datagram) < MAX_DATAGRAM_BYTES for datagram in stream)
    assert sum(datagram.count("\n") for datagram in stream) > len(stream)


def test_lines_with_a_rate_are_in_it(stream: list[str]) -> None:
    """The stream shows the weights that both bridges must read alike."""
    rated = [line for line in "\n".join(stream).split("\n") if "|@" in line]

    assert len(rated) > 100
    assert all("|ms|@" in line for line in rated)


@contextmanager
def running(command: list[str], home: Path) -> Iterator[tuple[int, str]]:
    """Run a bridge with the mapping file; yield its statsd port and page URL."""
    statsd, web = free_port(), free_port()
    url = f"http://{HOST}:{web}/metrics"
    log = home / f"{Path(command[0]).name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *command,
                f"--statsd.mapping-config={MAPPING}",
                f"--statsd.listen-udp={HOST}:{statsd}",
                "--statsd.listen-tcp=",
                f"--web.listen-address={HOST}:{web}",
            ],
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
    try:
        wait(lambda: fetched(url) is not None, process)
        yield statsd, url
    finally:
        process.terminate()
        process.wait(TIMEOUT_SECONDS)


def wait(condition: object, process: subprocess.Popen[bytes]) -> None:
    """Wait for a condition while the program runs."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, "it ended"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def fetched(url: str) -> str | None:
    """Return the page, None if it cannot be read."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            return str(answer.read().decode())
    except OSError:
        return None


def page_lines(command: list[str], stream: list[str], home: Path) -> list[str]:
    """Return the lines about the gateway on the page of a bridge after the stream."""
    lines = sum(datagram.count("\n") + 1 for datagram in stream)
    with (
        running(command, home) as (port, url),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        for datagram in stream:
            sender.sendto(datagram.encode(), (HOST, port))
            # Slowly: no buffer may overflow.
            time.sleep(0.005)
        return series(settled(url, lines))


def settled(url: str, lines: int) -> str:
    """
    Return the page after n lines, when no series has changed for a while.

    statsd_exporter counts a line when it arrives, and adds its samples to their series
    after at most 200 ms (--statsd.event-flush-interval).
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    page, unchanged_since = "", time.monotonic()
    while True:
        text = fetched(url) or ""
        now = time.monotonic()
        if series(text) != series(page):
            page, unchanged_since = text, now
        arrived = re.search(r"^statsd_exporter_lines_total (\S+)$", text, re.M)
        is_complete = arrived is not None and float(arrived[1]) == lines
        if is_complete and now - unchanged_since > SETTLING_SECONDS:
            return page
        assert now < deadline
        time.sleep(0.05)


def series(page: str) -> list[str]:
    """Return the lines of a page about the gateway."""
    return [line for line in page.split("\n") if "crocbot_" in line]


@pytest.mark.skipif(
    not STATSD_EXPORTER, reason="STATSD_EXPORTER does not name its binary"
)
def test_statsd_exporter_makes_the_same_page(stream: list[str], tmp_path: Path) -> None:
    """Both bridges read the stream and the mapping file alike."""
    ours = page_lines([sys.executable, "-m", "statsd_bridge"], stream, tmp_path)
    theirs = page_lines([STATSD_EXPORTER], stream, tmp_path)

    assert_same(ours, theirs)


def assert_same(actual: list[str], expected: list[str]) -> None:
    """Compare line for line; sums may differ in their last digits."""

    def exact(lines: list[str]) -> list[str]:
        return [line for line in lines if not is_sum(line)]

    def sums(lines: list[str]) -> dict[str, float]:
        pairs = (line.rsplit(" ", 1) for line in lines if is_sum(line))
        return {name: float(number) for name, number in pairs}

    assert exact(actual) == exact(expected)
    assert sums(actual) == pytest.approx(sums(expected), rel=1e-9)


def is_sum(line: str) -> bool:
    """Return whether it is the sum of a histogram, not a comment."""
    return "_seconds_sum" in line and not line.startswith("#")


class Recorder(asyncio.DatagramProtocol):
    """Keeps the datagrams that arrive."""

    def __init__(self) -> None:
        self.datagrams: list[str] = []

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.datagrams.append(data.decode("ascii"))


async def record() -> list[str]:
    """Run a gateway and a burst; return every datagram."""
    loop = asyncio.get_running_loop()
    transport, recorder = await loop.create_datagram_endpoint(
        Recorder, local_addr=("127.0.0.1", 0)
    )
    transport.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20
    )
    port = transport.get_extra_info("sockname")[1]
    with TemporaryDirectory() as home:
        await run_gateway(Path(home), port)
    telemetry = Telemetry(HostPort("127.0.0.1", port), version="0.1.0")
    for number in range(BURST):
        seconds = 0.004 * number
        telemetry.observer.emit(
            Outcome(
                Disposition.ANSWERED,
                message_type=MessageType.TEXT,
                seconds=seconds,
                update_ids=(number,),
            )
        )
    await telemetry.start()
    await telemetry.stop()
    await asyncio.sleep(0.5)
    transport.close()
    return recorder.datagrams


async def run_gateway(home: Path, port: int) -> None:
    """Let users write to a gateway until enough messages are answered."""
    async with Server() as server:
        several = Users(PEOPLE, server)
        settings = {
            "TELEGRAM_BOT_TOKEN": server.token,
            "CROCBOT_TELEGRAM_API_URL": server.url,
            "CROCBOT_ACCESS": "open",
            "CROCBOT_STATSD_PORT": str(port),
            "CROCBOT_HEALTH_ADDRESS": "127.0.0.1:0",
            "CROCBOT_STATE_DIR": str(home / "state"),
        }
        server.fault("sendMessage", faults.flood_wait(1))
        server.fault("sendMessage", faults.bad_gateway())
        server.fault("getUpdates", faults.other_poller())
        stop = asyncio.Event()
        async with children.start(
            name="gateway",
            arguments=["crocbot", "gateway"],
            settings=settings,
            home=home,
            environment=os.environ,
        ) as gateway:
            writing = asyncio.create_task(several.converse(stop, random.Random(1)))
            while several.answered.total() < MIN_ANSWERS:
                await asyncio.sleep(0.1)
            several.members[0].send(users.photo("Look"))
            stop.set()
            await writing
            await gateway.stop()


def main() -> None:
    """Write both files."""
    datagrams = asyncio.run(record())
    DATA.mkdir(exist_ok=True)
    STREAM.write_text(json.dumps(datagrams, indent=0) + "\n")
    PAGE.write_text(page(datagrams))


if __name__ == "__main__":
    main()
