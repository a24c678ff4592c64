"""The database that replicas share: its tables, its connections and its faults."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from crocbot.database_url import DatabaseUrl
from crocbot.errors import OperatorError, StoreError
from crocbot.leases import LEASE_SECONDS, RENEW_SECONDS
from crocbot.service.replica import LEASE_CONNECTIONS
from crocbot.service.schemas import SCHEMAS
from crocbot.store import (
    Connection,
    commands,
    connect,
    inspect_postgresql,
    opened_postgresql,
    schema,
    upgrade,
)
from crocbot.store.calls import STATEMENT_SECONDS
from crocbot.store.postgresql import POOL_SIZE, PostgresStore
from crocbot.store.schema import SCHEMA_LOCK, STORE_LOCK, VERSION
from tests.postgresql import Cluster

ONLY_POSTGRESQL = {
    "schema_version",
    "chats",
    "leases",
    "shared",
    "replicas",
    "alert_reports",
}
COLUMNS = {("rows", "chat"), ("starts", "replica")}


@pytest.fixture
def url(database_url: str) -> DatabaseUrl:
    """Return the URL of an empty database."""
    return DatabaseUrl.parse(database_url)


@pytest.fixture
async def store(url: DatabaseUrl) -> AsyncIterator[PostgresStore]:
    """Return an open store."""
    async with PostgresStore(url) as opened:
        yield opened


def insert(connection: Connection) -> int:
    """Add a row; return its id."""
    found = connection.execute("INSERT INTO starts (at) VALUES (1.5) RETURNING id")
    return int(found.fetchone()[0])


def count(connection: Connection) -> int:
    """Return the number of rows."""
    return int(connection.execute("SELECT count(*) FROM starts").fetchone()[0])


def columns_of_sqlite() -> Iterator[tuple[str, str]]:
    """Yield the tables and columns of the file."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for each in SCHEMAS:
            connection.executescript(each)
        yield from connection.execute(
            "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c"
            " WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'"
        )


def test_the_tables_are_those_of_the_file(url: DatabaseUrl) -> None:
    """Tables and columns have the names that they have in SQLite, in the same order."""
    assert inspect_postgresql(url) == 0
    assert upgrade(url) == (0, schema.VERSION)
    assert upgrade(url) == (schema.VERSION, schema.VERSION)
    with opened_postgresql(url) as connection:
        found = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = 'public' ORDER BY table_name, ordinal_position"
        ).fetchall()
    shared = [each for each in found if each[0] not in ONLY_POSTGRESQL]
    expected = sorted(columns_of_sqlite(), key=lambda each: each[0])
    assert [each for each in shared if each not in COLUMNS] == expected


def test_the_tables_of_an_earlier_version(
    url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They get what came later; statements of that version work on."""
    with monkeypatch.context() as patched:
        patched.setattr(schema, "STEPS", schema.STEPS[:1])
        patched.setattr(schema, "VERSION", 1)
        assert upgrade(url) == (0, 1)
        with opened_postgresql(url) as connection:
            insert(connection)
    assert upgrade(url) == (1, schema.VERSION)
    with opened_postgresql(url) as connection:
        insert(connection)
        starts = connection.execute("SELECT at, replica FROM starts").fetchall()
        reports = connection.execute("SELECT count(*) FROM alert_reports").fetchone()

    assert (starts, reports) == ([(1.5, None), (1.5, None)], (0,))


def test_an_old_server(url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused with the version that is needed, which is the one of the page."""
    oldest = connect.MIN_SERVER_VERSION // 10_000
    page = Path("docs/many-machines.md").read_text()
    assert f"A PostgreSQL server, version {oldest} or newer," in page
    monkeypatch.setattr(connect, "MIN_SERVER_VERSION", 990_000)
    with pytest.raises(OperatorError, match=r"PostgreSQL \d+, it must be 99 or newer"):
        inspect_postgresql(url)


def test_a_lock_that_is_not_given_back(
    url: DatabaseUrl, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command ends with an error; it does not wait without end."""
    upgrade(url)
    seconds = f"{commands.COMMAND_LOCK_SECONDS * 1000:.0f}"
    begin = commands.BEGIN_COMMAND.replace(
        f"lock_timeout = {seconds}", "lock_timeout = 50"
    )
    monkeypatch.setattr(commands, "BEGIN_COMMAND", begin)
    with cluster.connect(url.database) as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", STORE_LOCK)
        with (
            pytest.raises(StoreError, match="lock timeout"),
            opened_postgresql(url),
        ):
            pytest.fail("the command has the lock")


async def test_texts_and_flags(store: PostgresStore) -> None:
    """What PostgreSQL cannot store is replaced, and flags are numbers."""
    texts = await store.run(
        lambda each: each.execute(
            "SELECT ?::text, ?::text, ?::int, '50%'", ("a\0b", "\ud800c", True)
        ).fetchone()
    )
    named = await store.run(
        lambda each: each.execute(
            "SELECT :x::text, :y::int + :y::int", {"x": "50%", "y": 2}
        ).fetchone()
    )
    assert (texts, named) == (("a\ufffdb", "?c", 1, "50%"), ("50%", 4))


async def test_the_encoding_of_texts(database_url: str) -> None:
    """The URL does not change it, so that each replica reads what others wrote."""
    url = DatabaseUrl.parse(f"{database_url}?client_encoding=LATIN1")
    async with PostgresStore(url) as opened:
        length = await opened.run(
            lambda each: each.execute(
                "SELECT length(?), ?::text", ("\u0416", "\u0416")
            ).fetchone()
        )
    assert length == (1, "\u0416")


async def test_a_job_that_fails_changes_nothing(store: PostgresStore) -> None:
    """An error rolls back; those of PostgreSQL become StoreError, in one line."""

    def fail(connection: Connection) -> None:
        insert(connection)
        connection.execute("INSERT INTO leases VALUES (NULL, NULL, 1, now())")

    with pytest.raises(StoreError) as caught:
        await store.run(fail)
    assert await store.run(count, write=False) == 0
    # The details would show the values of the row.
    assert str(caught.value).splitlines()[0].endswith("violates not-null constraint")


async def test_a_restart_of_the_server(store: PostgresStore, cluster: Cluster) -> None:
    """Idle connections that the server has closed are not used again."""
    await store.run(insert)
    cluster.restart()
    assert await store.run(insert, atomic=False) == 2
    assert await store.run(count, write=False) == 2


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"database": "missing"}, 'database "missing" does not exist'),
        ({"password": "guess-my-name"}, "password authentication failed"),
        ({"user": "mallory"}, "password authentication failed"),
        ({"database": "x?sslmode=require"}, "server does not support SSL"),
        ({"database": "x?connect_timeout=soon"}, "bad value for connect_timeout"),
        ({"database": "x?color=red"}, 'invalid URI query parameter: "color"'),
        ({"database": "postgres?options=-csearch_path%3Dx"}, "no schema has been sel"),
    ],
)
def test_settings_that_are_wrong(
    cluster: Cluster, change: dict[str, str], text: str
) -> None:
    """One line names the setting, the database and the reason, and no password."""
    line = refusal(cluster.url(**change), OperatorError)
    assert line.startswith("CROCBOT_DATABASE_URL: postgresql://")
    assert text in line
    assert "guess-my-name" not in line
    assert "\n" not in line


@pytest.mark.parametrize("host", ["no-such-host.invalid", f"{'a' * 70}.invalid"])
def test_a_host_that_does_not_exist(host: str) -> None:
    """It is the operator's to mend, unlike a server that does not answer."""
    # A label of more than 63 bytes is refused without a name server.
    if len(host) < 64 and not name_server_answers():
        pytest.skip("no name server answers")
    assert host in refusal(f"postgresql://crocbot:correct@{host}/x", OperatorError)


def name_server_answers() -> bool:
    """Return whether a lookup can show that a name does not exist."""
    try:
        socket.getaddrinfo("no-such-host.invalid", None)
    except socket.gaierror as error:
        return error.errno != socket.EAI_AGAIN
    return True


def test_servers_that_do_not_answer(cluster: Cluster) -> None:
    """The error is about one of them, and a later try may succeed."""
    url = cluster.url(port="1").replace(":1/", ":1,127.0.0.1:2/")
    line = refusal(url, StoreError)
    assert line.endswith('"127.0.0.1", port 2 failed: Connection refused')
    assert inspect_postgresql(DatabaseUrl.parse(cluster.url("template1"))) == 0


def refusal(url: str, error: type[Exception]) -> str:
    """Return why the tables of a database cannot be made."""
    with pytest.raises(error) as caught:
        upgrade(DatabaseUrl.parse(url))
    return str(caught.value)


async def test_replicas_that_start_at_once_make_the_tables_once(
    cluster: Cluster,
) -> None:
    """Those that waited for the first one see its tables."""
    url = cluster.create_database()
    name = url.rpartition("/")[2]
    waiting = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    )
    with cluster.connect(name) as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", SCHEMA_LOCK)
        upgrades = [
            asyncio.create_task(asyncio.to_thread(upgrade, DatabaseUrl.parse(url)))
            for _ in range(3)
        ]
        async with asyncio.timeout(30):
            while cluster.execute(waiting)[0][0] < len(upgrades):
                await asyncio.sleep(0.02)
    versions = await asyncio.gather(*upgrades)

    assert sorted(before for before, _ in versions) == [0, VERSION, VERSION]
    cluster.drop_database(url)


def test_the_figures_of_the_page() -> None:
    """They are those of the program."""
    page = Path("docs/many-machines.md").read_text()
    connections = POOL_SIZE + LEASE_CONNECTIONS + 1

    assert (
        f"at most {connections}: {POOL_SIZE} for its work, {LEASE_CONNECTIONS} for its"
        " leases, one that listens"
    ) in page
    assert f"enough for {97 // connections - 1} replicas" in page
    assert (
        f"lasts {LEASE_SECONDS:g} seconds and is renewed every {RENEW_SECONDS:g} "
        in page
    )
    assert f"given up after {STATEMENT_SECONDS:g} seconds" in page
