"""docs/bridge.md against the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from twisted.web.http import HTTPChannel

from statsd_bridge.datagram import frames, lines
from statsd_bridge.listener.limits import ConnectionLimits
from statsd_bridge.listener.streams import MAX_IDLE_SECONDS
from statsd_bridge.relay import udp
from statsd_bridge.settings import Settings
from statsd_bridge.web import checks, config, connection, request, scrape

PAGE = (Path(__file__).parents[2] / "docs" / "bridge.md").read_text()


def test_the_example_is_read(tmp_path: Path) -> None:
    """The web configuration on the page is valid."""
    example = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    file = tmp_path / "web.yml"
    file.write_text(example[1])
    for name in ("bridge.pem", "bridge.key", "clients.pem"):
        (tmp_path / name).write_text("x")
    found = config.read(str(file))

    assert found.tls is not None
    assert set(found.users) == {"prometheus"}
    assert found.rate == config.RateLimit(0.1, 50)


@pytest.mark.parametrize(
    ("row", "bounds"),
    [
        ("series", [Settings().max_series]),
        ("line over TCP", [lines.MAX_LINE_BYTES, frames.MAX_FRAMED_LINE_BYTES]),
        ("connections of a statsd listener", [ConnectionLimits().streams]),
        ("inactivity of such", [MAX_IDLE_SECONDS // 3600]),
        ("HTTP connections", [ConnectionLimits().http]),
        ("inactivity of an HTTP", [connection.MAX_IDLE_SECONDS]),
        ("head", [HTTPChannel.totalHeadersSize // 1024, HTTPChannel.maxHeaders]),
        ("body", [request.MAX_BODY_BYTES // 1024**2]),
        ("time for a request", [connection.REQUEST_SECONDS]),
        ("password", [checks.MAX_WAITING_OF_PEER, checks.MAX_WAITING]),
        ("metrics pages being sent", [scrape.MAX_SCRAPES, scrape.MAX_WAITING_SCRAPES]),
        ("time to receive a page of", [scrape.SLOW_SECONDS]),
        ("time to receive a page ", [scrape.MAX_SCRAPE_SECONDS, scrape.STALL_SECONDS]),
    ],
)
def test_the_bounds_are_those_of_the_program(row: str, bounds: list[float]) -> None:
    """The numbers of each row are the constants of the program."""
    line = re.search(rf"^\| {row}[^|]*\|([^|]*)\|", PAGE, re.MULTILINE)
    assert line is not None
    numbers = re.findall(r"\d+", line[1].replace(",", ""))

    assert [float(each) for each in numbers] == bounds


def test_the_times_of_the_relay() -> None:
    """How often names are looked up."""
    assert f"every {udp.RESOLVE_SECONDS:.0f} seconds" in PAGE
    assert f"every {udp.RETRY_SECONDS:.0f};" in PAGE
