"""
Servers of asyncio in a test, which leave no connection behind.

A connection that a server accepted just before it was closed reaches its protocol some
turns of the event loop later, after all others were closed: the test that runs when it
is collected would fail with a ResourceWarning.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.ports import HOST

TURNS = 10
"""More turns of the event loop than a connection takes from its socket to its end."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def settle() -> None:
    """Let the event loop hand over what it has accepted, or closed."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def close_runner(runner: web.AppRunner) -> None:
    """Close a server of aiohttp, with all its connections."""
    for site in list(runner.sites):
        await site.stop()
    await settle()
    await runner.cleanup()
    await settle()


@asynccontextmanager
async def stream_server(
    serve: Serve, port: int = 0, **options: Any
) -> AsyncIterator[int]:
    """Serve streams on this machine; yield the port, and close all connections."""
    writers: list[asyncio.StreamWriter] = []

    async def tracked(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writers.append(writer)
        await serve(reader, writer)

    server = await asyncio.start_server(tracked, HOST, port, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await settle()
        for each in writers:
            each.close()
        await settle()
