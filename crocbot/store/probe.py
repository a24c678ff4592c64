"""What `crocbot check` finds out about a PostgreSQL database; it changes nothing."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import aclosing

from crocbot.clocks import SystemClocks
from crocbot.database_url import DatabaseUrl
from crocbot.store import schema
from crocbot.store.commands import connected
from crocbot.store.facts import DatabaseFacts
from crocbot.store.interface import Connection
from crocbot.store.listen import listen

MAX_PINGS = 5
NOTIFY_SECONDS = 2.0
FACTS = (
    "SELECT current_setting('server_version'), current_schema(),"
    " coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),"
    " current_setting('transaction_read_only') = 'on'"
)
TIME = "SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"


async def find_facts(url: DatabaseUrl) -> DatabaseFacts:
    """Connect to a database.  Raise OperatorError or StoreError."""
    return await asyncio.to_thread(_find_facts, url)


async def hears_notifications(url: DatabaseUrl) -> bool:
    """Return whether LISTEN has an effect, which it has not behind some poolers."""
    channel = f"crocbot_check_{secrets.token_hex(8)}"
    async with aclosing(listen(url, channel)) as payloads:
        await anext(payloads)
        await asyncio.to_thread(_notify, url, channel)
        try:
            async with asyncio.timeout(NOTIFY_SECONDS):
                return await anext(payloads) == channel
        except TimeoutError:
            return False


def _find_facts(url: DatabaseUrl) -> DatabaseFacts:
    clocks = SystemClocks()
    with connected(url) as connection:
        server, schema_name, may_create, read_only = connection.execute(
            FACTS
        ).fetchone()
        latency, ahead = min(_round(connection, clocks) for _ in range(MAX_PINGS))
        return DatabaseFacts(
            server=str(server).partition(" ")[0],
            tables=schema.version_of(connection),
            needed=schema.VERSION,
            schema=schema_name,
            may_create=may_create,
            read_only=read_only,
            latency_seconds=latency,
            clock_ahead=ahead,
        )


def _round(connection: Connection, clocks: SystemClocks) -> tuple[float, float]:
    """Return how long a statement took, and how far the server's clock is ahead."""
    wall, begun = clocks.wall(), time.perf_counter()
    (there,) = connection.execute(TIME).fetchone()
    took = time.perf_counter() - begun
    return took, there - (wall + took / 2)


def _notify(url: DatabaseUrl, channel: str) -> None:
    with connected(url) as connection:
        connection.execute("SELECT pg_notify(?, ?)", (channel, channel))
