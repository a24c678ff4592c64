"""
The servers that are compared, each a process on ports of its own.

A server is known by how it is started and how it tells how many packets it has taken.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import traffic

HOST = "127.0.0.1"
BUFFER = 4 * 1024 * 1024
PATIENCE = 60.0
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Kind:
    """How a server is started; `asked` counts packets, None where it cannot tell."""

    name: str
    command: Callable[[Path, int, int], list[str]]
    asked: str | None
    """A regular expression for the line of its page with the packets."""
    path: str = "/metrics"


@dataclass(slots=True)
class Server:
    """A running one."""

    kind: Kind
    process: subprocess.Popen[bytes]
    udp: int
    tcp: int

    def cpu(self) -> float:
        """Seconds of CPU that all its threads, also those that ended, have used."""
        # /proc/PID/stat sums up what /proc/PID/task/*/stat has, and the ended ones.
        text = Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def resident(self) -> int:
        """Bytes in RAM."""
        text = Path(f"/proc/{self.process.pid}/statm").read_text()
        return int(text.split()[1]) * PAGE

    def drops(self) -> int:
        """Datagrams that the kernel dropped at its socket."""
        for row in Path("/proc/net/udp").read_text().splitlines()[1:]:
            columns = row.split()
            if int(columns[1].rpartition(":")[2], 16) == self.udp:
                return int(columns[12])
        raise LookupError(f"{self.kind.name} does not listen")

    def get(self, *, gzip: bool = False) -> bytes:
        """Fetch its page, or what it says to whoever connects."""
        if not self.kind.path:
            with socket.create_connection((HOST, self.tcp), PATIENCE) as connection:
                return connection.makefile("rb").read()
        url = f"http://{HOST}:{self.tcp}{self.kind.path}"
        headers = {"Accept-Encoding": "gzip" if gzip else "identity"}
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return bytes(answer.read())

    def packets(self) -> int | None:
        """Ask how many packets it has taken; None where it cannot tell."""
        if self.kind.asked is None:
            return None
        found = re.search(self.kind.asked.encode(), self.get())
        return int(float(found[1])) if found else 0


def _ours(*flags: str) -> Callable[[Path, int, int], list[str]]:
    def command(home: Path, udp: int, tcp: int) -> list[str]:
        return [
            sys.executable,
            "-m",
            "statsd_bridge",
            f"--statsd.listen-udp={HOST}:{udp}",
            "--statsd.listen-tcp=",
            f"--web.listen-address={HOST}:{tcp}",
            f"--statsd.read-buffer={BUFFER}",
            f"--statsd.mapping-config={home / 'rules.yml'}",
            *flags,
        ]

    return command


def _python(module: str) -> Callable[[Path, int, int], list[str]]:
    def command(_: Path, udp: int, tcp: int) -> list[str]:
        ports = [f"--udp={udp}", f"--tcp={tcp}", f"--buffer={BUFFER}"]
        return [sys.executable, "-m", f"benchmarks.{module}", *ports]

    return command


def _statsd_exporter(home: Path, udp: int, tcp: int) -> list[str]:
    return [os.environ["STATSD_EXPORTER"], *_ours()(home, udp, tcp)[3:]]


def _collectd(home: Path, udp: int, tcp: int) -> list[str]:
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


COUNTED = r"(?m)^statsd_exporter_udp_packets_total (\S+)"
OURS = Kind("ours", _ours(), COUNTED)
PLAIN_PATH = Kind("ours, plain path", _ours("--no-statsd.batch"), COUNTED)
FLOOR = Kind("floor", _python("floor"), r"^packets (\d+)", path="")
BASELINE = Kind("plain baseline", _python("baseline"), r"(?m)^packets_total (\S+)")
STATSD_EXPORTER = Kind("statsd_exporter", _statsd_exporter, COUNTED)
COLLECTD = Kind("collectd", _collectd, None)


def available() -> list[Kind]:
    """List who can take part here."""
    kinds = [OURS, FLOOR, PLAIN_PATH, BASELINE]
    if os.environ.get("STATSD_EXPORTER"):
        kinds.append(STATSD_EXPORTER)
    if Path("/usr/lib/collectd/statsd.so").exists() and shutil.which("collectd"):
        kinds.append(COLLECTD)
    return kinds


@contextmanager
def running(kind: Kind, home: Path, cpu: int | None = None) -> Iterator[Server]:
    """Start a server on a core of its own, and end it."""
    (home / "rules.yml").write_text(traffic.RULES)
    udp, tcp = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
    command = kind.command(home, udp, tcp)
    if cpu is not None:
        command = ["taskset", "-c", str(cpu), *command]
    with open(home / "output", "ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    server = Server(kind, process, udp, tcp)
    try:
        _wait(server, home)
        yield server
    finally:
        process.send_signal(signal.SIGTERM if kind is COLLECTD else signal.SIGKILL)
        process.wait(PATIENCE)


def _wait(server: Server, home: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            server.drops()
            server.packets()
        except (OSError, LookupError):
            time.sleep(0.05)
        else:
            return
    text = (home / "output").read_text()
    raise RuntimeError(f"{server.kind.name} does not start:\n{text}")


def free_port(kind: socket.SocketKind) -> int:
    """Find a port that nobody uses now."""
    with socket.socket(socket.AF_INET, kind) as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])
