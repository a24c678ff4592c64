"""`statsd-bridge compare` beside another program that gets the same lines."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.programs import BridgeProcess, Start
from tests.ports import HOST, free_port

STATSD_EXPORTER = os.environ.get("STATSD_EXPORTER", "")
SECONDS = 3.0
RULES = """
mappings:
- {match: api.*, name: api_hits, labels: {page: $1}}
- {match: time.*, name: time_seconds, observer_type: histogram, labels: {of: $1}}
- {match: short.*, name: short, ttl: 1s, labels: {of: $1}}
"""
FIXED = b"level:7|g\nempty:nan|g\n"


def compare(theirs: object, ours: int, *flags: str) -> tuple[int, str, str]:
    """Compare two ports; return exit code, standard output and standard error."""
    command = [
        *(sys.executable, "-m", "statsd_bridge", "compare"),
        *(f"--theirs=http://{HOST}:{theirs}/metrics", f"--minutes={SECONDS / 60}"),
        *(f"--ours=http://{HOST}:{ours}/metrics", *flags),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_an_interrupt_is_no_difference(start: Start) -> None:
    """A comparison that Ctrl-C ends has the exit code of a shell, and no output."""
    page = f"http://{HOST}:{start().http}/metrics"
    command = [sys.executable, "-m", "statsd_bridge", "compare", "--minutes=9"]
    address = free_port()
    with socket.create_server((HOST, address)) as server:
        process = subprocess.Popen(
            [*command, f"--theirs={page}", f"--ours=http://{HOST}:{address}/"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        # It has sent its first request, and waits.
        connection = server.accept()[0]
        with connection:
            assert connection.recv(1)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.strip()) == (130, b"", b"")


@contextmanager
def traffic(*ports: int) -> Iterator[None]:
    """Send the same lines to each port until the block ends."""
    ended, chance = threading.Event(), random.Random(5)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

        def send() -> None:
            while not ended.wait(0.01):
                of = chance.randrange(5)
                value = chance.random() * 1000
                lines = f"api.{of}:1|c\ntime.{of}:{value}|ms\nwait:{value}|ms\n"
                if chance.random() < 0.01:
                    lines += f"short.{chance.randrange(99)}:1|c\n"
                for port in ports:
                    sender.sendto(FIXED + lines.encode(), (HOST, port))

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """Return a mapping file."""
    file = tmp_path / "rules.yml"
    file.write_text(RULES)
    return file


@pytest.fixture
def exporter(start: Start, rules: Path) -> BridgeProcess:
    """Return a bridge in the role of statsd_exporter."""
    return start(f"--statsd.mapping-config={rules}")


def test_the_same_is_safe(start: Start, exporter: BridgeProcess, rules: Path) -> None:
    """Traffic and series that expire meanwhile make no difference."""
    bridge = start(f"--statsd.mapping-config={rules}")
    with traffic(exporter.udp, bridge.udp):
        code, out, err = compare(exporter.http, bridge.http)

    assert (code, err) == (0, ""), out
    *_, verdict = out.splitlines()
    assert verdict == "safe to switch"
    assert "difference" not in out


def test_a_relay_s_delay_is_no_difference(start: Start, rules: Path) -> None:
    """The bridge gets its lines by the relay of the other program, or is its relay."""
    mapping = f"--statsd.mapping-config={rules}"
    second = start(mapping)
    first = start(mapping, f"--statsd.relay.address={HOST}:{second.udp}")
    with traffic(first.udp):
        fed = compare(first.http, second.http)
        relaying = compare(second.http, first.http)

    assert [(code, err) for code, _, err in (fed, relaying)] == [(0, "")] * 2, fed


def test_each_kind_of_difference(
    start: Start, exporter: BridgeProcess, tmp_path: Path
) -> None:
    """Missing, extra, of another type, with other buckets, of another value."""
    file = tmp_path / "other.yml"
    file.write_text(
        RULES.replace("name: api_hits", "name: api_other").replace(
            "observer_type: histogram", "observer_type: histogram, buckets: [1, 2]"
        )
        + "- {match: wait, name: wait, observer_type: histogram}\n"
    )
    bridge = start(f"--statsd.mapping-config={file}")
    exporter.send(b"resting:1|g", b"old:3|g")
    bridge.send(b"resting:2|g", b"mine:1|s", b"old:3|g")
    with traffic(exporter.udp, bridge.udp):
        code, out, _ = compare(exporter.http, bridge.http)
        found: Any = json.loads(compare(exporter.http, bridge.http, "--json")[1])

    assert code == 1
    rows = out.splitlines()
    assert 'missing: api_hits{page="0"}: theirs counter: unexplained' in rows
    assert 'extra: api_other{page="0"}: ours counter: unexplained' in rows
    assert "type: wait: theirs summary, ours histogram: unexplained" in rows
    assert "value: resting: theirs 1, ours 2: unexplained" in rows
    assert (
        'value: time_seconds{of="0"}: theirs has le=0.005, ours has not le=0.005' in out
    )
    assert "extra: mine: ours gauge: row 8 of docs/compatibility.md" in rows
    assert rows[-1].startswith("not safe to switch: ")
    assert not any(row.startswith(("value: level", "value: old")) for row in rows)
    assert found["safe"] is False
    assert {each["kind"] for each in found["differences"]} == {
        *("missing", "extra", "type", "value")
    }


def test_lost_lines_are_a_difference(
    start: Start, exporter: BridgeProcess, rules: Path
) -> None:
    """A counter that rises less is not safe, a series beyond a limit is explained."""
    bridge = start(f"--statsd.mapping-config={rules}", "--statsd.max-series=8")
    exporter.send(*[b"many.%d:1|c" % number for number in range(20)])
    bridge.send(*[b"many.%d:1|c" % number for number in range(20)])
    bridge.scrape_until("many_7")
    with traffic(exporter.udp):
        code, out, _ = compare(exporter.http, bridge.http)

    assert code == 1
    assert "missing: many_19: theirs counter: row 11 of docs/compatibility.md" in out
    assert 'missing: api_hits{page="0"}: theirs counter: unexplained' in out


def test_what_cannot_be_compared(start: Start, exporter: BridgeProcess) -> None:
    """An address without an answer, no page, a restart: one line, exit code 2."""
    bridge = start()
    nothing = free_port()
    code, out, err = compare(nothing, bridge.http)
    assert (code, out) == (2, "")
    assert err.startswith(f"statsd-bridge: --theirs: http://{HOST}:{nothing}/metrics: ")
    assert err.count("\n") == 1
    code, _, err = compare(f"{exporter.http}/-/healthy?", bridge.http)
    assert code == 2
    code, _, err = compare(exporter.http, bridge.http)
    assert code == 2
    assert "nothing to compare" in err


def test_the_switch_loses_no_line(start: Start) -> None:
    """Senders move one after the other; each line counts once, by the relay or not."""
    bridge = start()
    old = start(f"--statsd.relay.address={HOST}:{bridge.udp}")
    counted = 0
    for addresses in ([old, old], [bridge, old], [bridge, bridge]):
        for address in addresses:
            address.send(*[b"hits:1|c"] * 50)
        counted += 100
        bridge.scrape_until(f"\nhits {counted}\n")
    old.stop()

    assert f"\nhits {counted}\n" in bridge.get("/metrics")


@pytest.mark.skipif(
    not STATSD_EXPORTER, reason="STATSD_EXPORTER does not name its binary"
)
def test_statsd_exporter_itself(start: Start, rules: Path) -> None:
    """It is safe to switch from it on this traffic."""
    bridge = start(f"--statsd.mapping-config={rules}")
    udp, http = free_port(), free_port()
    command = [
        *(STATSD_EXPORTER, f"--statsd.mapping-config={rules}"),
        *(f"--statsd.listen-udp={HOST}:{udp}", "--statsd.listen-tcp="),
        f"--web.listen-address={HOST}:{http}",
    ]
    exporter = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        with traffic(udp, bridge.udp):
            code, out, err = compare(http, bridge.http)
    finally:
        exporter.kill()
        exporter.wait()

    assert (code, err) == (0, ""), out
