"""The JSON below /api/v1/: paths, methods, parameters, refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest

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
