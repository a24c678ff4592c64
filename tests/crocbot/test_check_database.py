"""What `crocbot check` says of a PostgreSQL database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from crocbot import settings
from crocbot.database_url import DatabaseUrl
from crocbot.errors import CrocbotError, OperatorError, StoreError
from crocbot.service.check_database import check_server
from crocbot.settings import Settings
from crocbot.store import schema, upgrade
from tests.ports import HOST, free_port
from tests.postgresql import Cluster
from tests.servers import stream_server

NOTIFICATION = b"A"


def configured(tmp_path: Path, url: str) -> Settings:
    """Return settings with a database."""
    return settings.load_only(
        {"CROCBOT_DATABASE_URL": url, "CROCBOT_STATE_DIR": str(tmp_path)},
        settings.DATABASE_URL,
        settings.STATE_DIR,
        env_file=None,
    )


async def checked(tmp_path: Path, url: str) -> tuple[str, list[str]]:
    """Return what is good, and warnings."""
    return await check_server(configured(tmp_path, url), DatabaseUrl.parse(url))


async def test_an_empty_and_a_full_database(
    tmp_path: Path, database_url: str, cluster: Cluster
) -> None:
    """Server, tables and latency are shown; nothing is changed."""
    shown = str(DatabaseUrl.parse(database_url))
    text, warnings = await checked(tmp_path, database_url)
    assert text.startswith(f"{shown} is PostgreSQL 1")
    assert ", its tables will be created, a statement takes " in text
    assert warnings == []
    name = database_url.rpartition("/")[2]
    assert cluster.execute("SELECT to_regclass('rows')", name) == [(None,)]

    upgrade(DatabaseUrl.parse(database_url))
    (tmp_path / "crocbot.sqlite3").touch()
    text, warnings = await checked(tmp_path, database_url)
    assert f", its tables have version {schema.VERSION}, " in text
    assert warnings == []


async def test_a_file_that_was_not_moved(tmp_path: Path, database_url: str) -> None:
    """A file beside an empty database was perhaps forgotten."""
    file = tmp_path / "crocbot.sqlite3"
    file.touch()
    _, warnings = await checked(tmp_path, database_url)

    assert warnings == [f"{file} is not used: crocbot database move takes it over"]


async def test_a_pooler_without_notifications(
    tmp_path: Path, database_url: str
) -> None:
    """Behind it messages wait longer, and a warning says so."""
    url = DatabaseUrl.parse(database_url)
    ((_, port),) = url.hosts
    async with without_notifications(port or 0) as pooled:
        through = database_url.replace(f":{port}/", f":{pooled}/")
        # A request for encryption has an answer that is no message.
        plain = f"{through}?sslmode=disable&gssencmode=disable"
        _, warnings = await checked(tmp_path, plain)

    assert [line.partition(",")[0] for line in warnings] == [
        "notifications do not arrive"
    ]


@pytest.mark.parametrize(
    ("statement", "error", "expected"),
    [
        (
            "ALTER DATABASE {name} SET default_transaction_read_only = on",
            StoreError,
            "is read-only, like a standby",
        ),
        (
            "ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'",
            OperatorError,
            "default_transaction_isolation is serializable",
        ),
        (
            "ALTER DATABASE {name} SET search_path = nowhere",
            OperatorError,
            "may not create tables in any schema of",
        ),
    ],
)
async def test_unusable_databases(
    tmp_path: Path,
    database_url: str,
    cluster: Cluster,
    statement: str,
    error: type[CrocbotError],
    expected: str,
) -> None:
    """One line says what is wrong."""
    cluster.execute(statement.format(name=database_url.rpartition("/")[2]))
    with pytest.raises(error) as refused:
        await checked(tmp_path, database_url)

    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_a_user_without_rights(
    tmp_path: Path, database_url: str, cluster: Cluster
) -> None:
    """The right that a user lacks is named."""
    cluster.execute("CREATE ROLE poor LOGIN PASSWORD 'hush'")
    try:
        name = database_url.rpartition("/")[2]
        cluster.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", name)
        with pytest.raises(OperatorError) as refused:
            await checked(tmp_path, cluster.url(name, user="poor", password="hush"))
    finally:
        # The next test of this cluster may make one of that name.
        cluster.execute("DROP ROLE poor")

    assert "may not create tables in the schema public of" in str(refused.value)
    assert "hush" not in str(refused.value)


@asynccontextmanager
async def without_notifications(port: int) -> AsyncIterator[int]:
    """Run a proxy of PostgreSQL that passes no notification on; return its port."""
    own = free_port()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(HOST, port)
        upward = asyncio.create_task(copy(reader, back))
        try:
            await copy_messages(there, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            upward.cancel()
            writer.close()
            back.close()

    async with stream_server(serve, own):
        yield own


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy bytes."""
    while content := await reader.read(65_536):
        writer.write(content)
    writer.write_eof()


async def copy_messages(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Copy the messages of a server, except notifications."""
    while kind := await reader.readexactly(1):
        length = await reader.readexactly(4)
        content = await reader.readexactly(int.from_bytes(length) - 4)
        if kind != NOTIFICATION:
            writer.write(kind + length + content)
