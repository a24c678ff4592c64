"""The formats of the page, asked for by Accept, from a process."""

from __future__ import annotations

import time
import urllib.request
from typing import Any

from tests.end_to_end.programs import TIMEOUT_SECONDS, BridgeProcess, Start
from tests.ports import HOST
from tests.statsd_bridge.client_model import CONTENT_TYPE, decode

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def fetch(bridge: BridgeProcess, accept: str, method: str = "GET") -> Any:
    """Return the response to a request for the page, and its body."""
    request = urllib.request.Request(
        f"http://{HOST}:{bridge.http}/metrics",
        headers={"Accept": accept} if accept else {},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        return response, response.read()


def created(bridge: BridgeProcess, name: str) -> float:
    """Return the time of creation of the only counter of a name; 0 if it is gone."""
    _, page = fetch(bridge, CONTENT_TYPE)
    for family in decode(page):
        if family.name == name:
            stamp = family.metric[0].counter.created_timestamp
            return float(stamp.ToNanoseconds()) / 1e9
    return 0.0


def create(bridge: BridgeProcess, name: str) -> float:
    """Send a sample of a counter that soon expires; return the time of creation."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        bridge.send(f"{name}:1|c".encode())
        # It may have expired since, on a busy machine.
        if time_of_creation := created(bridge, name):
            return time_of_creation
    raise TimeoutError(f"no page has {name}: {bridge.log()}")


def test_protobuf_must_be_named(start: Start) -> None:
    """HEAD answers with the same header and no body; curl and browsers get text."""
    bridge = start()
    bridge.send(b"hits:1|c")
    bridge.scrape_until("\nhits 1\n")

    for method in ("GET", "HEAD"):
        response, body = fetch(bridge, CONTENT_TYPE, method)
        assert response.headers["Content-Type"] == CONTENT_TYPE
        assert bool(body) == (method == "GET")
    for accept in ("", "*/*", "text/html,application/xhtml+xml,*/*;q=0.8"):
        response, body = fetch(bridge, accept)
        assert response.headers["Content-Type"].startswith("text/plain")
        assert b"\nhits 1\n" in body


def test_a_series_that_expired_has_another_time_of_creation(
    start: Start, tmp_path: Any
) -> None:
    """The clock of the machine, between the two samples and the page."""
    rules = tmp_path / "rules.yml"
    rules.write_text("defaults: {ttl: 1s}")
    bridge = start(f"--statsd.mapping-config={rules}")
    begun = time.time()
    first = create(bridge, "hits")
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while created(bridge, "hits") and time.monotonic() < deadline:
        time.sleep(0.1)
    again = time.time()

    assert begun <= first < again
    assert again <= create(bridge, "hits") <= time.time()


def test_created_lines_need_a_flag(start: Start) -> None:
    """Without it, OpenMetrics has none."""
    for flags, has_lines in (((), False), (("--web.openmetrics-created",), True)):
        bridge = start(*flags)
        bridge.send(b"hits_total:1|c")
        bridge.scrape_until("\nhits_total 1\n")
        _, page = fetch(bridge, OPENMETRICS)
        assert (b"\nhits_created " in page) == has_lines
