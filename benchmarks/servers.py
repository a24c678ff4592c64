"""
The servers that are compared, each a process on its own ports.

A server is described by the command that starts it and by the line of its page that
counts the packets it has taken.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path

from benchmarks import machine
from benchmarks.machine import HOST, ROOT

READ_BUFFER_BYTES = 4 * 1024 * 1024
TIMEOUT_SECONDS = 60.0

ACCEPT_PROTOBUF = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily;"
    " encoding=delimited"
)
"""The header of a Prometheus that scrapes native histograms, its first choice alone."""

Command = Callable[[Path, int, int], list[str]]
"""The command line for a folder, a UDP port and a TCP port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """How to start a server and how to read what it has counted."""

    name: str
    command: Command
    packets_pattern: str | None
    """A regular expression for the packets on its page; None: it does not count."""
    path: str = "/metrics"
    """The path of its page; empty: each connection gets it, without HTTP."""
    folder: Path = ROOT
    """The checkout it runs from."""
    stop_signal: signal.Signals = signal.SIGKILL
    shards: int = 0
    """How many of it run behind a sharding one; 0: it runs alone."""


@dataclass(slots=True, kw_only=True)
class Server:
    """A running server."""

    spec: ServerSpec
    process: subprocess.Popen[bytes]
    udp: int
    tcp: int

    def cpu_seconds(self) -> float:
        """Return the CPU time of all its threads, ended ones included, in seconds."""
        return machine.cpu_seconds(self.process.pid)

    def resident_bytes(self) -> int:
        """Return its resident memory in bytes."""
        return machine.resident_bytes(self.process.pid)

    def drops(self) -> int:
        """Return how many datagrams the kernel has dropped at its socket."""
        for row in Path("/proc/net/udp").read_text().splitlines()[1:]:
            columns = row.split()
            if int(columns[1].rpartition(":")[2], 16) == self.udp:
                return int(columns[12])
        raise LookupError(f"{self.spec.name} does not listen on UDP port {self.udp}")

    def get(self, *, gzip: bool = False, accept: str = "") -> bytes:
        """Return its page, in the format that `accept` asks for, or as text."""
        if not self.spec.path:
            address = (HOST, self.tcp)
            with socket.create_connection(address, TIMEOUT_SECONDS) as connection:
                return connection.makefile("rb").read()
        with self._request(gzip=gzip, accept=accept) as response:
            return bytes(response.read())

    def has_format(self, accept: str) -> bool:
        """Return whether it has its page in the format that `accept` asks for."""
        with self._request(accept=accept) as response:
            content_type: str = response.headers.get("Content-Type", "")
        return content_type.partition(";")[0] == accept.partition(";")[0]

    def _request(self, *, accept: str, gzip: bool = False) -> HTTPResponse:
        url = f"http://{HOST}:{self.tcp}{self.spec.path}"
        headers = {"Accept-Encoding": "gzip" if gzip else "identity"}
        if accept:
            headers["Accept"] = accept
        request = urllib.request.Request(url, headers=headers)
        response: HTTPResponse = urllib.request.urlopen(
            request, timeout=TIMEOUT_SECONDS
        )
        return response

    def packets(self) -> int | None:
        """Return how many packets it has taken; None if it does not count them."""
        if self.spec.packets_pattern is None:
            return None
        match = re.search(self.spec.packets_pattern.encode(), self.get())
        return int(float(match[1])) if match else 0


def _flags(home: Path, udp: int, tcp: int) -> list[str]:
    return [
        f"--statsd.listen-udp={HOST}:{udp}",
        "--statsd.listen-tcp=",
        f"--web.listen-address={HOST}:{tcp}",
        f"--statsd.read-buffer={READ_BUFFER_BYTES}",
        f"--statsd.mapping-config={home / 'rules.yml'}",
    ]


def bridge_command(*flags: str) -> Command:
    """Return the command of the bridge with further flags."""

    def command(home: Path, udp: int, tcp: int) -> list[str]:
        # `python -m` imports from the current folder first, so the checkout in which
        # it runs decides which bridge this is.
        program = [sys.executable, "-m", "statsd_bridge"]
        return [*program, *_flags(home, udp, tcp), *flags]

    return command


def _module_command(module: str) -> Command:
    def command(home: Path, udp: int, tcp: int) -> list[str]:
        flags = [f"--udp={udp}", f"--tcp={tcp}", f"--buffer={READ_BUFFER_BYTES}"]
        flags.append(f"--rules={home / 'rules.yml'}")
        return [sys.executable, "-m", f"benchmarks.{module}", *flags]

    return command


def _statsd_exporter_command(home: Path, udp: int, tcp: int) -> list[str]:
    return [os.environ["STATSD_EXPORTER"], *_flags(home, udp, tcp)]


def _collectd_command(home: Path, udp: int, tcp: int) -> list[str]:
    (home / "collectd.conf").write_text(
        f"""
        BaseDir "{home}"
        PIDFile "{home}/collectd.pid"
        Interval 10
        LoadPlugin statsd
        <Plugin statsd>
          Host "{HOST}"
          Port "{udp}"
          TimerCount true
          TimerSum true
        </Plugin>
        """
    )
    return ["/usr/sbin/collectd", "-f", "-C", str(home / "collectd.conf")]


EXPORTER_PACKETS = r"(?m)^statsd_exporter_udp_packets_total (\S+)"


VARIANTS = {
    "": (),
    ", plain path": ("--no-statsd.batch",),
    ", native off": ("--statsd.native-histograms=off",),
}
"""Flags of the bridge by what follows its name."""


def bridges(name: str, folder: Path = ROOT) -> list[ServerSpec]:
    """Return the bridge of a checkout: as it is by default, and without a part."""
    return [
        ServerSpec(
            name=f"{name}{suffix}",
            command=bridge_command(*flags),
            packets_pattern=EXPORTER_PACKETS,
            folder=folder,
        )
        for suffix, flags in VARIANTS.items()
    ]


SHARDS = [
    ServerSpec(
        name=f"ours, {count} shards",
        command=bridge_command(),
        packets_pattern=EXPORTER_PACKETS,
        shards=count,
    )
    for count in (2, 4)
]
"""Bridges behind a sharding one, for the measures of shards.py."""

FLOOR = ServerSpec(
    name="floor",
    command=_module_command("floor"),
    packets_pattern=r"^packets (\d+)",
    path="",
)
BASELINE = ServerSpec(
    name="plain baseline",
    command=_module_command("baseline"),
    packets_pattern=r"(?m)^packets_total (\S+)",
)
STATSD_EXPORTER = ServerSpec(
    name="statsd_exporter",
    command=_statsd_exporter_command,
    packets_pattern=EXPORTER_PACKETS,
)
COLLECTD = ServerSpec(
    name="collectd",
    command=_collectd_command,
    packets_pattern=None,
    stop_signal=signal.SIGTERM,
)


def available(before: Sequence[Path] = ()) -> list[ServerSpec]:
    """
    Return the servers that can run here, in the order of the table's columns.

    `before` are other checkouts of this project, say of an older commit.  Naming one
    twice shows how much two runs of the same code differ.
    """
    specs = bridges("ours")
    for number, folder in enumerate(before, 1):
        specs += bridges("before" if number == 1 else f"before {number}", folder)
    specs += [*SHARDS, FLOOR, BASELINE]
    if os.environ.get("STATSD_EXPORTER"):
        specs.append(STATSD_EXPORTER)
    if Path("/usr/lib/collectd/statsd.so").exists() and shutil.which("collectd"):
        specs.append(COLLECTD)
    return specs


@contextmanager
def running(
    spec: ServerSpec, home: Path, rules: str, cpu: int | None = None
) -> Iterator[Server]:
    """Run a server with a mapping file, pinned to a core if one is given."""
    (home / "rules.yml").write_text(rules)
    udp = machine.free_port(socket.SOCK_DGRAM)
    tcp = machine.free_port(socket.SOCK_STREAM)
    command = spec.command(home, udp, tcp)
    if cpu is not None:
        command = ["taskset", "-c", str(cpu), *command]
    with (home / "output").open("ab") as output:
        process = subprocess.Popen(
            command, cwd=spec.folder, stdout=output, stderr=output
        )
    server = Server(spec=spec, process=process, udp=udp, tcp=tcp)
    try:
        _wait_until_ready(server, home)
        yield server
    finally:
        process.send_signal(spec.stop_signal)
        process.wait(TIMEOUT_SECONDS)


def _wait_until_ready(server: Server, home: Path) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            server.drops()
            server.packets()
        except (OSError, LookupError):
            time.sleep(0.05)
        else:
            return
    text = (home / "output").read_text()
    raise RuntimeError(f"{server.spec.name} does not start:\n{text}")
