"""The JSON below /api/v1/: paths, methods, parameters, refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from statsd_bridge import web
from tests.statsd_bridge.web_in_memory import Backend


def ask(backend: Backend, path: str, method: str = "GET", **settings: Any) -> Any:
    """Send a request; return the status, the head and the body."""
    connection = backend.connect(backend.server(**settings))
    connection.send(f"{method} {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
    backend.reactor.run_pending()
    head, _, body = connection.received.partition(b"\r\n\r\n")
    return int(head.split()[1]), head, body


@pytest.mark.parametrize("path", ["status", "traffic", "series", "rules", "unmapped"])
def test_endpoints_answer_json(path: str) -> None:
    """Each endpoint answers GET with an object, and HEAD with the same head."""
    backend = Backend()
    status, head, body = ask(backend, f"/api/v1/{path}")

    assert status == 200
    assert b"Content-Type: application/json" in head
    assert b"X-Content-Type-Options: nosniff" in head
    assert isinstance(json.loads(body), dict)
    status, _, body = ask(backend, f"/api/v1/{path}", "HEAD")
    assert (status, body) == (200, b"")


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "nothing", 404, "has only: status"),
        ("GET", "", 404, "has only: status"),
        ("POST", "status", 405, "GET or HEAD"),
        ("GET", "status?x=1", 400, "'x' is not a parameter; there are: none"),
        ("GET", "status?x", 400, "'x' is not a parameter"),
        ("GET", "series?a%20b&limit=1", 400, "'a b' is not a parameter"),
        ("GET", "series?limit", 400, "limit: '' is not a whole number"),
        ("GET", "series?limit=1&limit", 400, "limit: is repeated"),
        ("GET", "series?limit=0", 400, "limit: '0' is not a whole number from 1"),
        ("GET", "series?limit=501", 400, "to 500"),
        ("GET", "series?limit=%C2%B2", 400, "limit: '\u00b2' is not a whole number"),
        ("GET", "series?limit=1&limit=1", 400, "limit: is repeated"),
        ("GET", "series?type=timer", 400, "type: 'timer' is not one of counter"),
        ("GET", "series?next=%3Cb%3E", 400, "next: '<b>' is not a token"),
        ("GET", "series?next=W10", 400, "is not a token"),
        ("GET", "series?search=%FF", 400, "search: is not UTF-8"),
        ("GET", f"series?search={'+'.join(map(str, range(17)))}", 400, "16 words"),
        ("GET", "rules?next=7", 400, "next: '7' is not a token"),
        ("GET", "rules?next=r123456789", 400, "is not a token"),
        ("GET", "rules?only=x", 400, "only: 'x' is not one of never_matched"),
        ("GET", "traffic?since=nan", 400, "since: 'nan' is not a time"),
    ],
)
def test_refusals(method: str, path: str, status: int, text: str) -> None:
    """A refusal is one sentence: the parameter, its value, and what would be right."""
    found, head, body = ask(Backend(), f"/api/v1/{path}", method)

    assert found == status
    assert (b"Allow: GET, HEAD" in head) == (status == 405)
    assert body.isascii()
    assert text in json.loads(body)["error"]


@pytest.mark.parametrize("path", ["/metrics", "/"])
def test_without_the_page_there_is_no_api(path: str) -> None:
    """With --no-web.ui its paths answer 404, also where all others are metrics."""
    status, _, _ = ask(Backend(), "/api/v1/status", web_ui=False, telemetry_path=path)

    assert status == 404


def post(backend: Backend, path: str, body: bytes, *headers: str) -> tuple[int, bytes]:
    """Send a body; return the status and the body of the response."""
    connection = backend.connect()
    head = [f"POST {path} HTTP/1.0", "Host: x", f"Content-Length: {len(body)}"]
    connection.send("\r\n".join([*head, *headers, "", ""]).encode())
    for start in range(0, len(body), 100_000):
        connection.send(body[start : start + 100_000])
    backend.reactor.run_pending()
    answer, _, content = connection.received.partition(b"\r\n\r\n")
    return int(answer.split()[1]), content


def test_a_mapping_is_tried() -> None:
    """The body is the file, the parameter its name in messages."""
    backend = Backend()
    assert post(backend, "/api/v1/try?file=new.yml", b"mappings: []") == (
        200,
        b'{"clean": true}\n',
    )
    assert post(backend, "/api/v1/try", b"x" * 1024 * 1024)[0] == 200
    assert [(len(text), file) for text, file in backend.tried] == [
        (12, "new.yml"),
        (1024 * 1024, "mapping.yml"),
    ]


@pytest.mark.parametrize(
    ("path", "body", "header", "status", "text"),
    [
        ("try", b"x" * (1024 * 1024 + 1), "X: y", 413, "more than 1 MiB"),
        ("try", b"", "Sec-Fetch-Site: cross-site", 403, "other sites"),
        ("try", b"", "Origin: http://other", 403, "other sites"),
        ("try?x=1", b"", "X: y", 400, "the only parameter is file"),
        ("try?file=1&file=2", b"", "X: y", 400, "the only parameter is file"),
        ("status", b"x", "X: y", 405, "not GET"),
    ],
)
def test_a_trial_is_refused(
    path: str, body: bytes, header: str, status: int, text: str
) -> None:
    """A large file, a page of another site, an unknown parameter."""
    backend = Backend()
    found, content = post(backend, f"/api/v1/{path}", body, header)
    assert (found, backend.tried) == (status, [])
    assert text in json.loads(content)["error"]


@pytest.mark.parametrize(("status", "is_retried"), [(200, False), (503, True)])
def test_a_trial_that_is_busy_can_be_repeated(status: int, is_retried: bool) -> None:
    """A client reads that in the header, as with any status 503."""
    backend = Backend()
    backend.trial = web.TrialAnswer(status, b"{}\n")
    found, head, _ = ask(backend, "/api/v1/try", "POST")
    assert (found, b"Retry-After: 1" in head) == (status, is_retried)


def test_a_trial_is_a_post() -> None:
    """No other method is one; without the page there is none."""
    backend = Backend()
    status, head, _ = ask(backend, "/api/v1/try")
    assert (status, b"Allow: POST" in head) == (405, True)
    assert ask(backend, "/api/v1/try", "POST", web_ui=False)[0] == 404


def test_few_bodies_are_received_at_once() -> None:
    """Those of one client do not keep others out; a place is free when one ends."""
    backend = Backend()
    server = backend.server()
    head = b"POST /api/v1/try HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\n\r\n"

    def begin(host: str) -> Any:
        connection = backend.connect(server, host)
        connection.send(head + b"x")
        return connection

    def end(connection: Any) -> int:
        connection.send(b"x")
        return int(connection.received.split()[1])

    first = [begin("192.0.2.1") for _ in range(3)]
    second = begin("192.0.2.2")
    assert [end(each) for each in first] == [200, 200, 503]
    assert end(second) == 200
    lost = [begin("192.0.2.1") for _ in range(2)]
    for each in lost:
        each.close()
    others = [begin(f"192.0.2.{host}") for host in range(10, 19)]
    assert [end(each) for each in others] == [200] * 8 + [503]
