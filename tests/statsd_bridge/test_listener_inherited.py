"""Sockets of systemd: which are taken over, and what is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from statsd_bridge.errors import BindError
from statsd_bridge.listener import Inherited

BAD = [
    ({"LISTEN_FDS": "1"}, "'' names no socket"),
    ({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "udp"}, "1 names for '2' sockets"),
    ({"LISTEN_FDS": "many", "LISTEN_FDNAMES": "udp"}, "1 names for 'many'"),
    ({"LISTEN_FDNAMES": "udp"}, "1 names for '' sockets"),
    ({"LISTEN_FDS": "1", "LISTEN_FDNAMES": "x.socket"}, "'x.socket' names no socket"),
]


def run(kinds: str, names: str, code: str) -> str:
    """
    Run code that has an `inherited` made of sockets like systemd's; returns its words.

    A process of its own, as the descriptors begin at 3: u is UDP, t TCP, f a file.
    """
    program = (
        "import os, socket\n"
        "from statsd_bridge.errors import BindError\n"
        "from statsd_bridge.listener import Inherited\n"
        "def made(kind):\n"
        "    if kind == 'f': return os.open('/dev/null', os.O_RDONLY)\n"
        "    type = socket.SOCK_DGRAM if kind == 'u' else socket.SOCK_STREAM\n"
        "    sock = socket.socket(socket.AF_INET, type)\n"
        "    sock.bind(('127.0.0.1', 0))\n"
        "    if kind == 't': sock.listen()\n"
        "    return sock.detach()\n"
        f"kinds = {kinds!r}\n"
        "assert [made(kind) for kind in kinds] == [3, 4, 5][:len(kinds)]\n"
        f"env = dict(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(kinds)),"
        f" LISTEN_FDNAMES={names!r})\n"
        "try:\n"
        "    inherited = Inherited(env, os.getpid())\n"
        f"    {code}\n"
        "except BindError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_nothing_is_inherited_without_systemd() -> None:
    """The doors then open sockets of their own."""
    inherited = Inherited({}, os.getpid())

    assert inherited.udp(0) is None
    assert inherited.listen("web.listen-address", None, None) is None
    inherited.refuse_rest()


def test_what_is_meant_for_another_process_is_left_alone() -> None:
    """A parent's variables say nothing about our descriptors."""
    environment = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "udp"}

    assert Inherited(environment, os.getpid()).udp(0) is None


@pytest.mark.parametrize(("environment", "words"), BAD)
def test_names_that_do_not_fit_are_refused(
    environment: dict[str, str], words: str
) -> None:
    """The error says what to write into the socket unit."""
    mine = {"LISTEN_PID": str(os.getpid()), **environment}
    with pytest.raises(BindError, match=words):
        Inherited(mine, os.getpid())


def test_a_udp_socket_is_taken_over_once() -> None:
    """It does not block, is not passed on to children, and has the buffer asked for."""
    code = (
        "sock, granted = inherited.udp(300_000);"
        "print(sock.type.name, sock.fileno(), sock.getblocking(), granted >= 100_000,"
        " os.get_inheritable(3), inherited.udp(0))"
    )

    assert run("u", "udp", code) == "SOCK_DGRAM 3 False True False None\n"


def test_a_larger_buffer_stays_as_it_is() -> None:
    """What ReceiveBuffer= granted is never made smaller."""
    code = (
        "import socket;"
        "before = socket.fromfd(3, 2, 2).getsockopt(socket.SOL_SOCKET, 8) // 2;"
        "print(inherited.udp(4_096)[1] == before)"
    )

    assert run("u", "udp", code) == "True\n"


REFUSED = [
    ("t", "udp", "pass", "the socket 'udp' is of another kind; .*ListenDatagram="),
    ("u", "http", "pass", "the socket 'http' is of another kind; .*ListenStream="),
    ("f", "tcp", "pass", "descriptor 3, 'tcp', is no socket"),
    ("uu", "udp:udp", "pass", "'udp' names no socket of the bridge, or a second one"),
    ("t", "tcp", "inherited.refuse_rest()", "--statsd.listen-tcp: is empty"),
]


@pytest.mark.parametrize(("kinds", "names", "code", "words"), REFUSED)
def test_sockets_that_do_not_fit_are_refused(
    kinds: str, names: str, code: str, words: str
) -> None:
    """The error says which, and what to write into the socket unit."""
    assert re.search(words, run(kinds, names, code))


def test_a_socket_is_found_by_its_name() -> None:
    """The order in which systemd passes the sockets is of no interest."""
    code = "print(inherited.udp(0)[0].fileno())"

    assert run("tu", "http:udp", code) == "4\n"
