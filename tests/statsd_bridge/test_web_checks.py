"""Password checks: their order, their bounds, and the requests that wait for them."""

from __future__ import annotations

import base64
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from statsd_bridge.web import users
from statsd_bridge.web.checks import MAX_WAITING, MAX_WAITING_OF_PEER
from tests.statsd_bridge.web_in_memory import Backend, Connection


class Thread:
    """The thread of the checks; the test makes the calls."""

    def __init__(self) -> None:
        self._call: tuple[Callable[[], bool], Deferred[bool]] | None = None

    def run(self, function: Callable[[], bool]) -> Deferred[bool]:
        """Keep a call; there is never a second one."""
        assert self._call is None
        result: Deferred[bool] = Deferred()
        self._call = function, result
        return result

    @property
    def is_busy(self) -> bool:
        """Whether a call is to be run."""
        return self._call is not None

    def end(self) -> None:
        """Make the call."""
        assert self._call is not None
        (call, result), self._call = self._call, None
        try:
            value = call()
        except Exception:
            result.errback(Failure())
        else:
            result.callback(value)

    def end_all(self) -> int:
        """Make calls until there are none; return how many there were."""
        count = 0
        while self.is_busy:
            self.end()
            count += 1
        return count


@pytest.fixture
def thread() -> Thread:
    """The thread of the checks."""
    return Thread()


class Site:
    """A server with one user, ann, whose password is `right`."""

    def __init__(self, folder: Path, thread: Thread) -> None:
        hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
        file = folder / "web.yml"
        file.write_text(f"basic_auth_users: {{ann: {hashed}}}")
        self.backend = Backend(thread)
        self.server = self.backend.server(1000, web_config=str(file))

    def request(self, password: str, host: str = "192.0.2.1") -> Connection:
        """Request a page."""
        connection = self.backend.connect(self.server, host)
        credentials = base64.b64encode(f"ann:{password}".encode()).decode()
        connection.send(
            b"GET /-/ready HTTP/1.0\r\nAuthorization: Basic %b\r\n\r\n"
            % credentials.encode()
        )
        return connection


@pytest.fixture
def site(thread: Thread, tmp_path: Path) -> Iterator[Site]:
    """A server with a user."""
    site = Site(tmp_path, thread)
    yield site
    thread.end_all()
    assert site.backend.bugs == []


def status(connection: Connection) -> int:
    """Return the status of a response, 0 if there is none."""
    return int(connection.received.split(b" ")[1]) if connection.received else 0


def test_a_peer_may_have_only_a_few_checks(site: Site) -> None:
    """One that runs, some that wait; another peer may have as many."""
    one, other = (
        [site.request(f"wrong {n}", host) for n in range(MAX_WAITING_OF_PEER + 2)]
        for host in ("192.0.2.1", "192.0.2.2")
    )

    assert [*map(status, one)] == [*[0] * (MAX_WAITING_OF_PEER + 1), 429]
    assert [*map(status, other)] == [*[0] * MAX_WAITING_OF_PEER, 429, 429]


def test_only_so_many_checks_wait(site: Site) -> None:
    """A peer more gets 503 until one has ended."""
    site.request("first", "192.0.2.255")
    peers = MAX_WAITING // MAX_WAITING_OF_PEER
    waiting = [
        site.request(f"wrong {n}", f"192.0.2.{peer}")
        for n in range(MAX_WAITING_OF_PEER)
        for peer in range(peers)
    ]
    refused = site.request("right", "192.0.2.100")
    waiting[7].close()
    admitted = site.request("right", "192.0.2.100")

    assert {*map(status, waiting)} == {0}
    assert (status(refused), status(admitted)) == (503, 0)


def test_peers_have_their_turns(site: Site, thread: Thread) -> None:
    """The first check of a peer waits for one of each other peer at most."""
    crowd = [site.request(f"wrong {n}", "192.0.2.1") for n in range(5)]
    later = [site.request(f"wrong {n}", "192.0.2.2") for n in range(2)]
    ends = []
    while thread.is_busy:
        thread.end()
        ends.append(sum(map(bool, map(status, crowd))))

    assert {*map(status, (*crowd, *later))} == {401}
    assert ends == [1, 2, 2, 3, 3, 4, 5]


def test_a_check_that_waits_is_dropped_with_its_connection(
    site: Site, thread: Thread
) -> None:
    """Only the one that runs is completed."""
    for number in range(600):
        site.request(f"wrong {number}").close()
    late = site.request("right")

    assert thread.end_all() == 2
    assert status(late) == 200


def test_a_client_that_closes_its_side_does_not_wait(
    site: Site, thread: Thread
) -> None:
    """It may be gone; the one whose check runs gets its response."""
    running, waiting = site.request("right"), site.request("wrong")
    for each in (running, waiting):
        each.close_sending()

    assert status(waiting) == 503
    assert waiting.is_closed
    assert thread.end_all() == 1
    assert status(running) == 200


@pytest.mark.skipif(not hasattr(select, "POLLRDHUP"), reason="POLLRDHUP is Linux's")
def test_clients_that_left_give_way(site: Site, thread: Thread) -> None:
    """Before the reactor finds out, when another check of the peer wants to wait."""
    running = site.request("wrong")
    waiting = [site.request(f"wrong {n}") for n in range(MAX_WAITING_OF_PEER)]
    with ExitStack() as stack:
        for each in waiting:
            ours, theirs = map(stack.enter_context, socket.socketpair())
            each.transport.fileno = ours.fileno
            theirs.send(b"not read yet")
            if each is not waiting[1]:
                theirs.close()
        late = site.request("right")

    assert [*map(status, waiting)] == [503, 0, 503, 503]
    assert thread.end_all() == 3
    assert [*map(status, (running, waiting[1], late))] == [401, 401, 200]


def test_the_result_of_a_check_is_remembered_for_all_that_wait(
    site: Site, thread: Thread
) -> None:
    """Even if the client that it was for has gone."""
    site.request("right").close()
    waiting = [site.request("right") for _ in range(3)]

    assert thread.end_all() == 1
    assert {*map(status, waiting)} == {200}
    assert status(site.request("right")) == 200


def test_requests_without_credentials_need_no_check(site: Site, thread: Thread) -> None:
    """They get 401 at once, however many wait."""
    for _ in range(9):
        connection = site.backend.connect(site.server)
        connection.send(b"GET / HTTP/1.0\r\n\r\n")
        assert status(connection) == 401

    assert not thread.is_busy


def test_a_bug_in_a_check_costs_one_request(
    site: Site, thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported, and the next check runs."""

    def fail(*_: Any) -> bool:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(users, "matches", fail)
        first = site.request("right")
        second = site.request("right")
        thread.end()
    thread.end()

    assert first.is_closed
    assert status(second) == 200
    assert [str(error) for error in site.backend.bugs] == ["a bug"]
    site.backend.bugs.clear()


COSTS = [4, 5, 7]


@pytest.mark.parametrize("cost", [*COSTS, None])
@pytest.mark.parametrize("password", [b"right", b"wrong"])
def test_every_check_is_as_much_work(
    cost: int | None, password: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the user exists, whatever the cost of their hash."""
    hashed = cost and bcrypt.hashpw(b"right", bcrypt.gensalt(cost))
    work = 0

    def hashing(function: Any, *arguments: bytes) -> Any:
        nonlocal work
        work += 1 << int(arguments[1].split(b"$")[2])
        return function(*arguments)

    for name in ("hashpw", "checkpw"):
        function = getattr(bcrypt, name)
        monkeypatch.setattr(
            bcrypt, name, lambda *args, function=function: hashing(function, *args)
        )
    matches = users.matches(password, hashed or None, max(COSTS))

    assert work == 1 << max(COSTS)
    assert matches is (cost is not None and password == b"right")
