"""Server-sent events as the HTML standard says, in chunks of any size."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from crocbot.agents import sse

CASES = {
    "data: a\n\n": [("", "a")],
    "data:a\ndata: b\n\ndata:  c\n\n": [("", "a\nb"), ("", " c")],
    "event: x\ndata: a\n\ndata: b\n\n": [("x", "a"), ("", "b")],
    "\ufeffdata: a\r\rdata: b\r\r": [("", "a"), ("", "b")],
    "data: a\r\n\r\ndata: b\r\ndata: c\r\n\r\n": [("", "a"), ("", "b\nc")],
    "data: a\r\rdata: b\n\n": [("", "a"), ("", "b")],
    ": comment\nid: 1\nretry: 5\nother\ndata: a\n\n": [("", "a")],
    "data\n\ndata: \ndata: \n\n": [("", "\n")],
    "event: error\n\n": [("error", "")],
    "event: ping\n\ndata: a\n\n": [("", "a")],
    'error: {"code": 400}\n\ndata: [DONE]\n\n': [
        ("error", '{"code": 400}'),
        ("", "[DONE]"),
    ],
    # Some services omit the empty line after the last event.
    "data: a\n\ndata: b": [("", "a"), ("", "b")],
    "data: \ufeffa 🐊\n\n": [("", "\ufeffa 🐊")],
    "": [],
}


async def pieces(content: bytes, size: int) -> AsyncIterator[bytes]:
    """Yield a content in pieces of one size."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize(("stream", "found"), CASES.items())
async def test_events(stream: str, found: list[tuple[str, str]], size: int) -> None:
    """Lines end with LF, CR or CRLF; events with an empty line or the stream."""
    events = [
        (event.name, event.data)
        async for event in sse.events(pieces(stream.encode(), size))
    ]

    assert events == found
