"""Inherited sockets of systemd: which are taken over, and what is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from statsd_bridge.errors import BindError
from statsd_bridge.listener import InheritedSockets

PROGRAM = """
import os, socket, sys
from statsd_bridge.errors import BindError
from statsd_bridge.listener import InheritedSockets
from statsd_bridge.model import HostPort

def inherit(type):
    if type == "f":
        return os.open("/dev/null", os.O_RDONLY)
    sock = socket.socket(type=socket.SOCK_DGRAM if type == "u" else socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    if type == "t":
        sock.listen()
    return sock.detach()

_, types, names, code = sys.argv
for number, type in enumerate(types, 3):
    # What the interpreter has open there, like a library of ctypes, is not used again.
    os.dup2(inherit(type), number)
systemd = dict(
    LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(types)), LISTEN_FDNAMES=names
)
any_port = HostPort("127.0.0.1", 0)
try:
    inherited = InheritedSockets(systemd)
    exec(code)
except BindError as error:
    print(error)
"""


def run(types: str, names: str, code: str) -> str:
    """
    Run code with an `inherited` in a process of its own; return what it prints.

    The types of its sockets: u is UDP, t TCP, f a file.
    """
    command = [sys.executable, "-c", PROGRAM, types, names, code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "environment",
    [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "udp"}],
    ids=["no systemd", "another process"],
)
def test_no_inherited_sockets_do_not_raise(environment: dict[str, str]) -> None:
    """Without sockets of systemd there are no unused ones to reject."""
    InheritedSockets(environment).reject_unused()


@pytest.mark.parametrize(
    "environment",
    [
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "udp"},
        {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "udp:udp"},
        {"LISTEN_FDS": "many", "LISTEN_FDNAMES": "udp"},
        {"LISTEN_FDNAMES": "udp"},
        {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "x.socket"},
    ],
)
def test_names_that_do_not_fit_are_refused(environment: dict[str, str]) -> None:
    """The error has the names and what to write into the socket unit."""
    names = environment.get("LISTEN_FDNAMES", "")
    with pytest.raises(BindError, match=f"{names!r} does not .* FileDescriptorName="):
        InheritedSockets({"LISTEN_PID": str(os.getpid()), **environment})


@pytest.mark.parametrize(
    ("types", "names", "code", "words"),
    [
        ("t", "udp", "", "'udp' has the wrong type; .*ListenDatagram="),
        ("u", "http", "", "'http' has the wrong type; .*ListenStream="),
        ("f", "tcp", "", "descriptor 3, 'tcp', is not a socket"),
        ("t", "tcp", "inherited.reject_unused()", "--statsd.listen-tcp: is empty"),
    ],
)
def test_sockets_that_do_not_fit_are_refused(
    types: str, names: str, code: str, words: str
) -> None:
    """The error has the name and what to write into the socket unit."""
    assert re.search(words, run(types, names, code))


def test_a_udp_socket_is_taken_over_once() -> None:
    """By name, non-blocking, not inheritable, with the buffer that is asked for."""
    code = (
        "sock = inherited.open_udp('statsd.listen-udp', any_port, 300_000);"
        "size = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF);"
        "again = inherited.open_udp('statsd.listen-udp', any_port, 0);"
        "print(sock.type.name, sock.fileno(), sock.getblocking(), size >= 200_000,"
        " os.get_inheritable(4), again.fileno() == 4)"
    )

    assert run("tu", "http:udp", code) == "SOCK_DGRAM 4 False True False False\n"


def test_a_larger_buffer_stays_as_it_is() -> None:
    """The size that ReceiveBuffer= granted is never reduced."""
    code = (
        "size = lambda: socket.fromfd(3, 2, 2).getsockopt(socket.SOL_SOCKET, 8);"
        "before = size();"
        "sock = inherited.open_udp('statsd.listen-udp', any_port, 4_096);"
        "print(size() == before)"
    )

    assert run("u", "udp", code) == "True\n"
