"""Long answers: their steps, and the bounds of their number, time and size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from statsd_bridge.inspection import Steps
from statsd_bridge.web import jobs
from tests.statsd_bridge.web_in_memory import Backend, Connection

REQUEST = b"GET /api/v1/series HTTP/1.1\r\nHost: x\r\n\r\n"


class Endless:
    """An inspector whose pages of series never end; it counts them."""

    def __init__(self) -> None:
        self.begun = self.closed = 0

    def series(self, _query: Any) -> Steps[Any]:
        """Return steps without an end."""
        self.begun += 1
        try:
            while True:
                yield
        finally:
            self.closed += 1


@pytest.fixture
def endless(backend: Backend) -> Endless:
    """An endless inspector, each of whose slices is one step."""
    inspector = Endless()
    backend.inspector = inspector  # type: ignore[assignment]
    return inspector


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """A backend, whose slices are short."""
    monkeypatch.setattr(jobs, "SLICE_SECONDS", 0.0001)
    return Backend()


def run_slices(backend: Backend, count: int = 20) -> None:
    """Let the reactor make some calls."""
    for _ in range(count):
        if backend.reactor.pending:
            backend.reactor.pending.pop(0)()


def ask(backend: Backend, server: Any, host: str) -> Connection:
    """Send a request for a page of series."""
    connection = backend.connect(server, host)
    connection.send(REQUEST)
    return connection


def test_too_many_jobs_are_refused(backend: Backend, endless: Endless) -> None:
    """A peer may have a share of those that wait; beyond all of them is 503."""
    server = backend.server(max_connections=100)
    most = jobs.MAX_RUNNING + jobs.MAX_WAITING_OF_PEER
    mine = [ask(backend, server, "192.0.2.1") for _ in range(most + 1)]
    assert [b" 503 " in each.received for each in mine] == [False] * most + [True]
    assert b"Retry-After: 1" in mine[-1].received

    others = [ask(backend, server, f"192.0.2.{n}") for n in range(2, 50)]
    refused = [each for each in others if b" 503 " in each.received]
    assert len(others) - len(refused) == jobs.MAX_WAITING - jobs.MAX_WAITING_OF_PEER
    run_slices(backend)
    assert endless.begun == jobs.MAX_RUNNING


def test_a_job_ends_with_its_client(backend: Backend, endless: Endless) -> None:
    """No step is done for a client that is gone, and the next job begins."""
    server = backend.server()
    mine = [ask(backend, server, "192.0.2.1") for _ in range(jobs.MAX_RUNNING + 1)]
    run_slices(backend)
    assert endless.begun == jobs.MAX_RUNNING
    mine[0].close()

    run_slices(backend)
    assert (endless.begun, endless.closed) == (jobs.MAX_RUNNING + 1, 1)
    for each in mine[1:]:
        each.close()
    run_slices(backend)
    assert endless.closed == endless.begun
    assert not backend.reactor.pending


@pytest.mark.parametrize("is_half_closed", [False, True])
def test_a_job_takes_a_bounded_time(
    backend: Backend,
    endless: Endless,
    monkeypatch: pytest.MonkeyPatch,
    is_half_closed: bool,
) -> None:
    """It ends with 503, and earlier if the client has closed its side."""
    bound = "HALF_CLOSED_SECONDS" if is_half_closed else "MAX_JOB_SECONDS"
    monkeypatch.setattr(jobs, bound, -1.0)
    connection = ask(backend, backend.server(), "192.0.2.1")
    if is_half_closed:
        connection.close_sending()

    run_slices(backend)
    assert b" 503 " in connection.received
    assert b"ask for less" in connection.received
    assert endless.closed == endless.begun


def test_packets_that_wait_go_first(backend: Backend, endless: Endless) -> None:
    """While more packets wait than are read at once, slices are rare."""
    backend.backlog = True
    ask(backend, backend.server(), "192.0.2.1")
    run_slices(backend)
    assert not endless.begun

    backend.reactor.advance(jobs.BACKLOG_SECONDS)
    assert endless.begun == 1


def test_a_large_answer_is_sent_as_it_is_read(backend: Backend) -> None:
    """It is whole, in parts, and its client has a bounded time to read it."""
    lines = [b"name:1|c|#number:%d,text:%b" % (n, b"x" * 300) for n in range(400)]
    backend.path.feed(*lines)
    server = backend.server()
    connection = backend.connect(server)
    connection.send(REQUEST.replace(b"series", b"series?limit=500"))
    backend.reactor.run_pending()

    head, _, body = connection.received.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head.lower()
    assert len(body) > jobs.SENT_BYTES
    assert len(json.loads(body)["series"]) == 400

    slow = backend.connect(server)
    slow.send(REQUEST.replace(b"series", b"series?limit=500"))
    run_slices(backend, 3)
    while len(slow.received) < jobs.SENT_BYTES:
        run_slices(backend, 1)
    slow.transport.producer.pauseProducing()
    backend.reactor.run_pending()
    assert len(slow.received) < len(connection.received)
    backend.reactor.advance(jobs.MAX_SEND_SECONDS)
    assert slow.transport.disconnected or slow.is_closed


def test_a_bug_is_reported(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in a step is a bug, whose response is 500."""
    error = RuntimeError("a step")

    def fail(_: Any) -> Steps[Any]:
        yield
        raise error

    monkeypatch.setattr(backend.inspector, "series", fail)
    connection = ask(backend, backend.server(), "192.0.2.1")
    backend.reactor.run_pending()

    assert b" 500 " in connection.received
    assert backend.bugs == [error]
