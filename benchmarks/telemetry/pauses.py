"""
The longest pause of the event loop with a bridge that receives and ones that do not.

Each run is a process.  A vanished host and a silent DNS need a network namespace, which
`unshare` makes for the life of the process where the system permits it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.telemetry.calls import HOST, listener

PORT = 9125
CLIENTS = ("nothing", "ours", "plain")

# Other users become root of a namespace, without real-time priority.
ROOT = () if os.geteuid() == 0 else ("--map-root-user",)
OWN_NETWORK = ("unshare", *ROOT, "--net", "--mount", "sh", "-euc")

# The other end of the link is up and does not have the address: ARP gets no answer.
VANISHED = """
ip link add here type veth peer name there
ip addr add 10.99.0.1/24 dev here
ip link set here up
ip link set there up
exec "$@"
"""
# A DNS server that receives queries and never answers.
SILENT = """
ip link set lo up
mount --bind {resolv} /etc/resolv.conf
{python} -c 'import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 53))
time.sleep(600)' &
sleep 0.3
"$@"
kill $!
"""


Prefix = tuple[str, ...]
"""A command that runs the command behind it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario: milliseconds by client, or the reason that there are none."""

    name: str
    pauses: dict[str, float] | str


@dataclass(frozen=True, slots=True)
class Effort:
    """Rounds, their length, and the clients; the best round of each counts."""

    rounds: int = 3
    seconds: float = 2.0
    clients: tuple[str, ...] = CLIENTS


# Without the plain client, whose pauses last many seconds.
SHORT = Effort(1, 0.1, ("nothing", "ours"))


def worst(
    client: str, target: tuple[str, int], seconds: float, before: Prefix
) -> float:
    """Return the longest pause of one run in milliseconds."""
    host, port = target
    done = subprocess.run(
        [
            *before,
            *(sys.executable, "-m", "benchmarks.telemetry.loop"),
            *(f"--client={client}", f"--host={host}", f"--port={port}"),
            f"--seconds={seconds}",
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return float(done.stdout)


def row(name: str, host: str, port: int, effort: Effort, before: Prefix = ()) -> Row:
    """
    Measure one scenario; return the shortest of the longest pauses of its rounds.

    Other programs on the machine can only make a pause longer.
    """
    pauses = {
        client: min(
            worst(client, (host, port), effort.seconds, before)
            for _ in range(effort.rounds)
        )
        for client in effort.clients
    }
    return Row(name, pauses)


@contextmanager
def stalled() -> Iterator[int]:
    """Open a socket with a small buffer that nothing reads; yields its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
        receiver.bind((HOST, 0))
        yield receiver.getsockname()[1]


def rows(effort: Effort) -> Iterator[Row]:
    """Yield every scenario."""
    with listener() as port:
        yield row("bridge present", HOST, port, effort)
    with stalled() as port:
        free = port
        yield row("bridge stalled", HOST, port, effort)
    yield row("bridge absent", HOST, free, effort)
    refused = _namespace_error()
    if refused:
        yield Row("host vanished", refused)
        yield Row("DNS silent", refused)
        return
    vanished = (*OWN_NETWORK, VANISHED, "sh")
    yield row("host vanished", "10.99.0.2", PORT, effort, vanished)
    with tempfile.TemporaryDirectory() as folder:
        resolv = Path(folder) / "resolv.conf"
        resolv.write_text("nameserver 127.0.0.1\n")
        script = SILENT.format(resolv=resolv, python=sys.executable)
        silent = (*OWN_NETWORK, script, "sh")
        yield row("DNS silent", "bridge.example", PORT, effort, silent)


def _namespace_error() -> str:
    """Return why there can be no network namespace; empty if there can."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return "skipped: unshare or ip is not installed"
    tried = subprocess.run(
        [*OWN_NETWORK, VANISHED, "sh", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode:
        return f"skipped: {tried.stderr.strip().splitlines()[-1]}"
    return ""
