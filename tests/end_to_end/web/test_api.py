"""/api/v1/ of a running bridge: what was sent is found, and nothing of it is lost."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.end_to_end.programs import TIMEOUT_SECONDS, BridgeProcess, Start
from tests.ports import HOST

pytestmark = pytest.mark.end_to_end

RULES = """
mappings:
- match: api.*.hits
  name: api_hits
  labels: {route: $1}
- match: t.*
  name: t_seconds
  observer_type: histogram
  labels: {which: $1}
"""

MANY = 20_000
HOSTILE = '<script>alert(1)</script>"\\\u2028\u00e9'


@pytest.fixture
def bridge(start: Start, tmp_path: Path) -> BridgeProcess:
    """A bridge with rules."""
    (tmp_path / "rules.yml").write_text(RULES)
    return start(f"--statsd.mapping-config={tmp_path / 'rules.yml'}")


def ask(bridge: BridgeProcess, path: str, **headers: str) -> Any:
    """Return an answer of the API, which is in ASCII."""
    body = bridge.get(f"/api/v1/{path}", **headers)
    assert body.isascii()
    return json.loads(body)


def wait_for(look: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def has_series(bridge: BridgeProcess, count: int) -> bool:
    """Return whether there are as many series."""
    return bool(ask(bridge, "status")["series"]["live"] >= count)


def send_many(bridge: BridgeProcess, count: int) -> None:
    """Send counters of as many routes, and wait until all are there."""
    for begin in range(0, count, 2_000):
        lines = [b"api.r%d.hits:1|c" % n for n in range(begin, begin + 2_000)]
        bridge.send(*[b"\n".join(lines[at : at + 20]) for at in range(0, 2_000, 20)])
        wait_for(partial(has_series, bridge, begin + 2_000))


def test_a_sample_is_found_at_once(bridge: BridgeProcess) -> None:
    """What was sent before the request is in the answer, with the rule that made it."""
    bridge.send(b"api.login.hits:3|c", b"t.a:20|ms")

    (row,) = ask(bridge, "series?search=LOGIN")["series"]
    assert (row["name"], row["labels"]) == ("api_hits", {"route": "login"})
    assert (row["value"], row["rule"]["line"]) == (3, 3)
    (row,) = ask(bridge, "series?name=t_seconds")["series"]
    assert (row["count"], row["sum"]) == (1, 0.02)
    status = ask(bridge, "status")
    assert status["is_well"]
    assert status["addresses"]["udp"] == f"{HOST}:{bridge.udp}"
    assert abs(status["now"] - time.time()) < 60


def test_text_of_senders_is_escaped(bridge: BridgeProcess) -> None:
    """Text of a sender comes back as it was, and can be searched for."""
    bridge.send(f"odd:1|c|#tag:{HOSTILE}".encode())
    bridge.send(b"bad \xff\xfe line")

    (row,) = ask(bridge, f"series?search={quote('<SCRIPT>')}")["series"]
    assert row["labels"] == {"tag": HOSTILE}
    refused = ask(bridge, "unmapped")["refused_lines"]
    assert refused[0]["line"] == "bad \\xff\\xfe line"
    line = quote(b"odd:1|c|#tag:\xff")
    assert ask(bridge, f"explain?line={line}")["line"] == "odd:1|c|#tag:\\xff"


def test_pages_and_intake_at_once(bridge: BridgeProcess) -> None:
    """While all pages are read, senders go on: nothing is lost, each series is once."""
    send_many(bridge, MANY)
    sent = 0
    stop = threading.Event()

    def go_on_sending() -> None:
        nonlocal sent
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while not stop.is_set():
                for _ in range(20):
                    sock.sendto(b"api.r%d.hits:1|c" % (sent % MANY), (HOST, bridge.udp))
                    sent += 1
                # The socket's buffer has them for some seconds, if the bridge is slow.
                time.sleep(0.02)

    sender = threading.Thread(target=go_on_sending)
    sender.start()
    try:
        routes, after = [], ""
        while True:
            page = ask(bridge, f"series?limit=500{after}")
            routes += [row["labels"]["route"] for row in page["series"]]
            if not page["next"]:
                break
            after = f"&next={page['next']}"
        families = ask(bridge, "cardinality?max_series=1000")["families"]
    finally:
        stop.set()
        sender.join()

    assert len(routes) == len({*routes}) == MANY
    assert families[0]["labels"][0]["name"] == "route"
    assert families[0]["over"] == MANY - 1000
    bridge.scrape_until(f"\nstatsd_exporter_lines_total {MANY + sent}.0\n")


def test_clients_that_leave_or_do_not_read(bridge: BridgeProcess) -> None:
    """They keep no other client from its answer."""
    send_many(bridge, MANY)
    request = b"GET /api/v1/series?limit=500 HTTP/1.1\r\nHost: x\r\n\r\n"
    left = []
    for _ in range(100):
        sock = socket.create_connection((HOST, bridge.http), TIMEOUT_SECONDS)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.sendall(request * 3)
        left.append(sock)
        if len(left) % 2:
            left.pop().close()

    wait_for(lambda: bridge.request("/api/v1/series?limit=1")[0] == 200)
    assert ask(bridge, "status")["series"]["live"] == MANY
    for sock in left:
        sock.close()


def test_it_is_behind_the_users(start: Start, tmp_path: Path, hashed: Any) -> None:
    """With users there is no answer without a password."""
    config = tmp_path / "web.yml"
    config.write_text(f"basic_auth_users: {{me: {hashed('secret')}}}")
    bridge = start(f"--web.config.file={config}")

    assert bridge.request("/api/v1/status")[0] == 401
    assert ask(bridge, "status", Authorization="Basic bWU6c2VjcmV0")["is_well"]


@pytest.mark.parametrize("flags", [[], ["--web.telemetry-path=/"]])
def test_it_can_be_turned_off(start: Start, flags: list[str]) -> None:
    """With --no-web.ui there is nothing below its path."""
    bridge = start("--no-web.ui", *flags)

    for path in ("/api/v1/status", "/api/v1/", "/api/v1/try"):
        assert bridge.request(path)[0] == 404


def test_a_reload_shows(bridge: BridgeProcess, tmp_path: Path) -> None:
    """A refused file is a problem until a good one is read; so is a new rule."""
    (tmp_path / "rules.yml").write_text("mappings: [{match: x}]")
    bridge.process.send_signal(1)
    wait_for(lambda: ask(bridge, "status")["reload"] is not None)
    status = ask(bridge, "status")
    assert [each["name"] for each in status["problems"]] == ["reload_failed"]
    assert "mappings[0].name" in status["mapping"]["error"]

    (tmp_path / "rules.yml").write_text(f"{RULES}- {{match: more, name: more}}\n")
    bridge.process.send_signal(1)
    wait_for(lambda: ask(bridge, "status")["is_well"])
    assert ask(bridge, "status")["mapping"]["rules"] == 3
    bridge.send(b"more:1|c")
    assert ask(bridge, "series?name=more")["series"][0]["rule"]["match"] == "more"
