"""
A stand-in for servers of audio transcriptions: what it gets, and what it answers.

    async with TranscriptionServer() as server:
        server.answers.append(words("Turn on the light."))
        ... CROCBOT_TRANSCRIBE_URL=server.url
        server.requests[0].fields["model"]
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import BodyPartReader, web

from tests.servers import close_runner

KEY = "sk-transcribe-0123456789"
PATH = "/v1/audio/transcriptions"
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Upload:
    """One request: its fields, and the file with its name and type."""

    fields: Mapping[str, str]
    name: str
    content_type: str
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class TranscriptionServer:
    """
    Answers each request with the next of `answers`, and then with `default`.

    With `key` it refuses requests without it.
    """

    def __init__(self, key: str | None = None) -> None:
        self.key = key
        self.url = ""
        self.requests: list[Upload] = []
        self.answers: deque[Answer] = deque()
        self.default = words("Turn on the light.")

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=30_000_000)
        app.router.add_post(PATH, self._serve)
        self._runner = web.AppRunner(
            app, shutdown_timeout=0.1, handler_cancellation=True, access_log=None
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await close_runner(self._runner)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(await _read(request))
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return await failure(401, "Incorrect API key provided")(request)
        answer = self.answers.popleft() if self.answers else self.default
        return await answer(request)


async def _read(request: web.Request) -> Upload:
    """
    Return an upload, all of it in memory.

    aiohttp's post() would leave a file open if its client hangs up while it is sent.
    """
    fields: dict[str, str] = {}
    files: list[tuple[str, str, bytes]] = []
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        content = bytes(await part.read())
        if part.filename is None:
            fields[str(part.name)] = content.decode()
        else:
            files.append((part.filename, part.headers["Content-Type"], content))
    (file,) = files
    return Upload(fields, *file, dict(request.headers))


def words(text: str) -> Answer:
    """Answer with these words, in JSON."""
    return body(json.dumps({"text": text}))


def body(
    text: str, status: int = 200, content_type: str = "application/json", **headers: str
) -> Answer:
    """Answer with a body."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(
            text=text, status=status, content_type=content_type, headers=headers
        )

    return answer


def failure(status: int, message: str, **headers: str) -> Answer:
    """Answer with an error in OpenAI's form."""
    error: Any = {"error": {"message": message}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return body(json.dumps(error), status, **named)


def redirect(url: str) -> Answer:
    """Answer with a redirect."""
    return body("", 307, Location=url)


def endless(content_type: str = "application/json") -> Answer:
    """Answer with a body that does not end."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        await response.write(b'{"text": "')
        while True:
            await response.write(b"x" * 65_536)

    return answer


async def silent(_: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    return web.Response()


async def broken(request: web.Request) -> web.StreamResponse:
    """Cut the connection."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
