"""
Hostile clients of every kind at once against one bridge: `make soak`.

    innocent senders   UDP and TCP, counted       -->  every sample is on the page
    hostile senders    lines that kill others, noise, long names, many tags
    churn              new names with a ttl       -->  memory is flat
    connections        half-open, idle, requests that never end
    wrong passwords    each is a bcrypt check     -->  every scrape is 200, in time
    reloads            by SIGHUP, a bad file among them

    python -m tests.end_to_end.soak --seconds 600

It prints a table of what happened, and returns 1 if a promise of docs/bridge.md broke.
"""

from __future__ import annotations

import argparse
import base64
import random
import re
import signal
import socket
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import bcrypt
import psutil

from tests.end_to_end.programs import TIMEOUT_SECONDS, BridgeProcess
from tests.end_to_end.test_survival import KILLERS
from tests.ports import HOST

DROPS = "statsd_bridge_udp_kernel_drops_total"
MAX_SCRAPE_SECONDS = 1.0
MAX_GROWTH = 1.05
"""Memory of the last quarter over that of the one before it: flat but for noise."""

PASSWORD = "soak"
RULES = """
mappings:
- {match: churn.*.*, name: churn_$2, labels: {id: $1}, ttl: 5s}
- {match: churned.*, name: churned, labels: {id: $1}, ttl: 3s, observer_type: histogram}
"""
SERIES_CHURNED_PER_SECOND = 200
INNOCENT_PER_SECOND = 200
HOSTILE_PER_SECOND = 200


@dataclass
class Figures:
    """What happened; one thread writes each field."""

    innocent_udp: int = 0
    innocent_tcp: int = 0
    hostile: int = 0
    churned: int = 0
    reloads: int = 0
    wrong_passwords: int = 0
    half_open: int = 0
    scrapes: int = 0
    bad_scrapes: list[str] = field(default_factory=list)
    slowest_scrape_seconds: float = 0.0
    resident_bytes: list[int] = field(default_factory=list)
    """One a scrape."""


class Soak:
    """One run against a bridge."""

    def __init__(self, bridge: BridgeProcess, seconds: float) -> None:
        self.figures = Figures()
        self._bridge = bridge
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._errors: list[BaseException] = []
        # Read once: the port is searched for in the log.
        self._udp, self._tcp, self._http = bridge.udp, bridge.tcp, bridge.http

    def run(self) -> None:
        """Run all clients to the end; raise what one of them raised."""
        clients = (
            self._send_innocent_udp,
            self._send_innocent_tcp,
            self._send_hostile,
            self._churn,
            self._reload,
            self._send_wrong_passwords,
            self._open_halves,
            self._scrape,
        )
        threads = [threading.Thread(target=self._guarded, args=(c,)) for c in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def page(self) -> str:
        """Return the page after the last sample was read."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        page = self._get_page()
        while time.monotonic() < deadline:
            if not list(lost_samples(self.figures, page)):
                break
            time.sleep(0.1)
            page = self._get_page()
        return page

    def _guarded(self, client: Callable[[], None]) -> None:
        try:
            client()
        except BaseException as error:
            self._errors.append(error)

    def _paced(self, per_second: float) -> Iterator[int]:
        """Yield numbers at a rate, until the end."""
        start = time.monotonic()
        number = 0
        while (now := time.monotonic()) < self._end:
            due = start + number / per_second
            if due > now:
                time.sleep(min(due - now, max(0.0, self._end - now)))
                continue
            yield number
            number += 1

    def _send_innocent_udp(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in self._paced(INNOCENT_PER_SECOND):
                sender.sendto(b"innocent_udp:1|c", (HOST, self._udp))
                self.figures.innocent_udp += 1

    def _send_innocent_tcp(self) -> None:
        # One connection that is quiet for seconds, like an honest client.
        with socket.create_connection((HOST, self._tcp)) as sender:
            for _ in self._paced(0.5):
                sender.sendall(b"innocent_tcp:1|c\n")
                self.figures.innocent_tcp += 1

    def _send_hostile(self) -> None:
        datagrams = [
            each
            for killer in KILLERS.values()
            if not killer.rules
            for each in killer.datagrams[:100]
        ]
        chosen = random.Random(1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in self._paced(HOSTILE_PER_SECOND):
                big = b"tagged%d:1|c|#k:%s" % (number, b"v" * chosen.randrange(3_000))
                sender.sendto(chosen.choice([*datagrams, big]), (HOST, self._udp))
                self.figures.hostile += 1

    def _churn(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in self._paced(SERIES_CHURNED_PER_SECOND / 2):
                lines = b"churn.%d.a:1|c\nchurned.%d:5|ms" % (number, number)
                sender.sendto(lines, (HOST, self._udp))
                self.figures.churned += 2

    def _reload(self) -> None:
        rules = self._bridge.home / "rules.yml"
        for number in self._paced(0.5):
            rules.write_text("mappings: [" if number % 5 == 4 else RULES)
            self._bridge.process.send_signal(signal.SIGHUP)
            self.figures.reloads += 1
        rules.write_text(RULES)

    def _send_wrong_passwords(self) -> None:
        for number in self._paced(5):
            head = (
                f"GET /metrics HTTP/1.1\r\nHost: {HOST}\r\n"
                f"Authorization: {_basic(f'wrong{number}')}\r\n\r\n"
            )
            # Closed at once: a check that waits must end with its connection.
            with suppress(OSError), self._connection(self._http) as client:
                client.sendall(head.encode())
            self.figures.wrong_passwords += 1

    def _open_halves(self) -> None:
        open_ones: list[socket.socket] = []
        starts = (b"GET /metr", b"half.a.li", b"GET / HTTP/1.1\r\nHost: x\r\n", b"")
        try:
            for number in self._paced(20):
                port = self._http if number % 2 else self._tcp
                with suppress(OSError):
                    client = socket.create_connection((HOST, port), timeout=5)
                    client.sendall(starts[number % len(starts)])
                    open_ones.append(client)
                    self.figures.half_open += 1
                if len(open_ones) > 400:
                    open_ones.pop(0).close()
        finally:
            for each in open_ones:
                each.close()

    def _scrape(self) -> None:
        process = psutil.Process(self._bridge.process.pid)
        for _ in self._paced(1):
            start = time.monotonic()
            try:
                self._get_page()
            except OSError as error:
                self.figures.bad_scrapes.append(str(error))
            seconds = time.monotonic() - start
            self.figures.slowest_scrape_seconds = max(
                self.figures.slowest_scrape_seconds, seconds
            )
            self.figures.scrapes += 1
            self.figures.resident_bytes.append(process.memory_info().rss)

    def _get_page(self) -> str:
        request = urllib.request.Request(
            f"http://{HOST}:{self._http}/metrics",
            headers={"Authorization": _basic(PASSWORD)},
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            page: str = response.read().decode()
        return page

    @contextmanager
    def _connection(self, port: int) -> Iterator[socket.socket]:
        with socket.create_connection((HOST, port), timeout=5) as client:
            yield client


def _basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"ann:{password}".encode()).decode()


def _value(page: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def start(home: Path) -> BridgeProcess:
    """Start a bridge with a mapping file and one user."""
    (home / "rules.yml").write_text(RULES)
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()
    (home / "web.yml").write_text(f"basic_auth_users:\n  ann: '{hashed}'\n")
    return BridgeProcess(
        home,
        [
            f"--statsd.listen-tcp={HOST}:0",
            f"--statsd.mapping-config={home / 'rules.yml'}",
            f"--web.config.file={home / 'web.yml'}",
        ],
    ).wait()


def problems(soak: Soak, page: str) -> Iterator[str]:
    """Yield each promise that was broken."""
    figures = soak.figures
    yield from lost_samples(figures, page)
    if bugs := _value(page, "statsd_bridge_bugs_total"):
        yield f"{bugs:.0f} bugs"
    if figures.bad_scrapes:
        yield f"scrapes failed: {figures.bad_scrapes[:3]}"


def lost_samples(figures: Figures, page: str) -> Iterator[str]:
    """Yield the samples of innocent senders that are lost, and not to the kernel."""
    for name, sent, dropped in (
        ("innocent_udp", figures.innocent_udp, _value(page, DROPS)),
        ("innocent_tcp", figures.innocent_tcp, 0),
    ):
        if not sent - dropped <= (shown := _value(page, name)) <= sent:
            yield f"{name}: {sent} sent, {shown:.0f} on the page"


def slow_problems(figures: Figures, page: str) -> Iterator[str]:
    """Yield the broken promises about time and memory: of long runs only."""
    if (shown := _value(page, "innocent_udp")) != figures.innocent_udp:
        yield f"innocent_udp: {figures.innocent_udp} sent, {shown:.0f} on the page"
    if figures.slowest_scrape_seconds > MAX_SCRAPE_SECONDS:
        yield f"a scrape took {figures.slowest_scrape_seconds:.2f} s"
    third, last = quarters(figures.resident_bytes)
    if last > MAX_GROWTH * third:
        yield f"memory grew from {third:.1f} to {last:.1f} MiB"


def quarters(resident_bytes: list[int]) -> tuple[float, float]:
    """Return the highest memory of the third and of the last quarter in MiB."""
    size = max(1, len(resident_bytes) // 4)
    third, last = resident_bytes[-2 * size : -size] or [0], resident_bytes[-size:]
    return max(third) / 2**20, max(last) / 2**20


def table(soak: Soak, page: str) -> str:
    """Return the figures of a run as a table."""
    figures = soak.figures
    third, last = quarters(figures.resident_bytes)
    rows = [
        ("innocent samples, UDP and TCP", figures.innocent_udp + figures.innocent_tcp),
        ("hostile datagrams", figures.hostile),
        ("series that came and went", figures.churned),
        ("reloads, a fifth of them refused", figures.reloads),
        ("wrong passwords", figures.wrong_passwords),
        ("half-open connections", figures.half_open),
        ("scrapes", figures.scrapes),
        ("slowest scrape (s)", round(figures.slowest_scrape_seconds, 3)),
        ("memory, third and last quarter (MiB)", f"{third:.1f}, {last:.1f}"),
        ("kernel drops", round(_value(page, DROPS))),
    ]
    return "\n".join(f"| {name} | {value} |" for name, value in rows)


def main() -> int:
    """Run; print the table and what is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.end_to_end.soak")
    parser.add_argument("--seconds", type=float, default=600.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        bridge = start(Path(home))
        try:
            soak = Soak(bridge, args.seconds)
            soak.run()
            page = soak.page()
            broken = [*problems(soak, page), *slow_problems(soak.figures, page)]
        finally:
            code = bridge.stop()
    print(table(soak, page))
    if code:
        broken.append(f"exit code {code}")
    for each in broken:
        print(f"broken: {each}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
