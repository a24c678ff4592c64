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

from crocbot.http_server import settle_connections
from tests.ports import HOST

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def close_runner(runner: web.AppRunner) -> None:
    """Close a server of aiohttp, with all its connections."""
    for site in list(runner.sites):
        await site.stop()
    await settle_connections()
    await runner.cleanup()
    await settle_connections()


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
        await settle_connections()
        for each in writers:
            each.close()
        await settle_connections()
