"""Outgoing requests: bodies are bounded, redirects not followed, codings decoded."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from crocbot import http_client
from crocbot.http_client import BodyError, BodyTooLongError, HttpClient
from tests.crocbot.fakes import serving

SIZE = 1000
TIMEOUT = aiohttp.ClientTimeout(total=30)


async def read(
    body: bytes, max_bytes: int = SIZE, **headers: str
) -> tuple[bytes, list[str]]:
    """Return the body of an answer, and the codings that were requested."""
    codings: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        codings.append(request.headers.get("Accept-Encoding", ""))
        return web.Response(body=body, headers=headers)

    async with serving({"GET /": answer}) as place:
        client = HttpClient(f"http://{place}", connections=1, reuse=True)
        try:
            async with client.request(
                "GET", f"http://{place}/", timeout=TIMEOUT
            ) as response:
                return await response.read(max_bytes), codings
        finally:
            await client.close()


def raw_deflate(body: bytes) -> bytes:
    """Compress without a header."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(body) + compressor.flush()


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        ("identity", bytes),
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, http_client.MAX_CHUNK_BYTES])
async def test_codings(
    coding: str,
    encode: Callable[[bytes], bytes],
    piece: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No coding is requested; a compressed body is decoded, and its bytes count."""
    monkeypatch.setattr(http_client, "MAX_CHUNK_BYTES", piece)
    body = bytes(range(250)) * 4
    sent: dict[str, Any] = {"Content-Encoding": coding}

    assert await read(encode(body), **sent) == (body, ["identity"])
    with pytest.raises(BodyTooLongError, match="more than 1000 bytes"):
        await read(encode(body + b"x"), **sent)


@pytest.mark.parametrize(
    ("coding", "body", "error"),
    [
        ("br", b"x", "Content-Encoding 'br'"),
        ("gzip, gzip", b"x", "Content-Encoding 'gzip, gzip'"),
        ("gzip", b"not compressed", "the answer is not gzip"),
        ("deflate", raw_deflate(b"x" * 99), "the answer is not deflate"),
    ],
)
async def test_bodies_that_cannot_be_decoded(
    coding: str, body: bytes, error: str
) -> None:
    """A coding that was not requested, or a wrong one, is an error."""
    with pytest.raises(BodyError, match=error):
        await read(body, **{"Content-Encoding": coding})


async def test_a_bomb_is_not_decoded_whole() -> None:
    """Of a body that is compressed a thousandfold only the permitted bytes are kept."""
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    with pytest.raises(BodyTooLongError):
        await read(bomb, 1024 * 1024, **{"Content-Encoding": "gzip"})


async def test_a_redirect_is_not_followed() -> None:
    """The caller gets the redirect itself."""
    requested: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        requested.append(request.path)
        raise web.HTTPTemporaryRedirect("/elsewhere")

    async with serving({"POST /{path:.*}": answer}) as place:
        client = HttpClient(f"http://{place}", connections=1, reuse=False)
        async with client.request(
            "POST", f"http://{place}/", data=b"a secret", timeout=TIMEOUT
        ) as response:
            assert response.status == 307
        await client.close()
    assert requested == ["/"]


async def test_cookies_are_not_kept() -> None:
    """Nothing that a server stores in one chat is sent in the next."""
    cookies: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        cookies.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "chat=7"})

    async with serving({"GET /": answer}) as place:
        url = f"http://localhost:{place.rpartition(':')[2]}/"
        client = HttpClient(url, connections=1, reuse=True)
        for _ in range(2):
            async with client.request("GET", url, timeout=TIMEOUT):
                pass
        await client.close()
    assert cookies == [None, None]


async def test_a_server_that_sends_faster_than_its_answer_is_read() -> None:
    """Other tasks run between the chunks of a large body."""
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=bytes(256 * http_client.MAX_CHUNK_BYTES))

    async with serving({"GET /": answer}) as place:
        client = HttpClient(f"http://{place}", connections=1, reuse=False)
        counting = asyncio.create_task(count_turns())
        async with client.request(
            "GET", f"http://{place}/", timeout=TIMEOUT
        ) as response:
            # The whole body is there before its first chunk is read.
            await asyncio.sleep(0.1)
            turns = 0
            sizes = [len(chunk) async for chunk in response.chunks(10**7)]
            assert turns >= len(sizes) >= 256
        counting.cancel()
        await client.close()
    assert max(sizes) <= http_client.MAX_CHUNK_BYTES
