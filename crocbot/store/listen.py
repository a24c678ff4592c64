"""Notifications of PostgreSQL, on a connection that only waits."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import psycopg
from psycopg import sql

from crocbot.database_url import DatabaseUrl
from crocbot.errors import StoreError
from crocbot.store.connect import describe, missing_parameters


async def listen(url: DatabaseUrl, channel: str) -> AsyncGenerator[str, None]:
    """
    Yield "" once notifications arrive, then the payload of each.

    Raise StoreError when the connection ends, or cannot be made.
    """
    try:
        connection = await psycopg.AsyncConnection.connect(
            url.text, autocommit=True, prepare_threshold=None, **missing_parameters(url)
        )
    except (psycopg.Error, UnicodeError) as error:
        raise StoreError(f"{url}: {describe(url, error)}") from None
    try:
        await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        yield ""
        async for notification in connection.notifies():
            yield notification.payload
    except psycopg.Error as error:
        raise StoreError(f"{url}: {describe(url, error)}") from None
    finally:
        await connection.close()
