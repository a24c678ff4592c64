"""PostgreSQL that is slow, ends a connection, refuses, is full, or is gone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import psycopg
import pytest

from crocbot.database_url import DatabaseUrl
from crocbot.errors import OperatorError, StoreError
from crocbot.store import (
    Connection,
    calls,
    inspect_postgresql,
    opened_postgresql,
    postgresql,
    schema,
    upgrade,
)
from crocbot.store.postgresql import PostgresStore
from tests.crocbot.database_sessions import Session, wait_for_lock
from tests.pgbouncer import MISSING, PROGRAM, Pooler
from tests.postgresql import Cluster

# Ends the connection of the statement or transaction that it is in.
SUICIDE = "SELECT pg_terminate_backend(pg_backend_pid())"


@pytest.fixture
def url(cluster: Cluster, template: str) -> Iterator[DatabaseUrl]:
    """Return the URL of a database that has the tables and nothing else."""
    url = cluster.create_database(template)
    yield DatabaseUrl.parse(url)
    cluster.drop_database(url)


@pytest.fixture
async def store(url: DatabaseUrl) -> AsyncIterator[PostgresStore]:
    """Return an open store."""
    async with PostgresStore(url) as opened:
        yield opened


@contextmanager
def quick(cancel_seconds: float = postgresql.CANCEL_SECONDS) -> Iterator[None]:
    """
    Let a job have half a second, and its cancellation `cancel_seconds`.

    Only while nothing can succeed: a busy machine may need longer for a job that does.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(calls, "STATEMENT_SECONDS", 0.5)
        patched.setattr(postgresql, "CANCEL_SECONDS", cancel_seconds)
        yield


def insert(connection: Connection) -> int:
    """Add a row; return its id."""
    found = connection.execute("INSERT INTO starts (at) VALUES (1) RETURNING id")
    return int(found.fetchone()[0])


def count(connection: Connection) -> int:
    """Return the number of rows."""
    return int(connection.execute("SELECT count(*) FROM starts").fetchone()[0])


def _execute(
    connection: Connection, statement: str, parameters: tuple[object, ...]
) -> None:
    connection.execute(statement, parameters)


def waiting(cluster: Cluster, url: DatabaseUrl) -> int:
    """Return how many statements of a database run."""
    found = cluster.execute(
        "SELECT count(*) FROM pg_stat_activity"
        f" WHERE datname = '{url.database}' AND state = 'active'"
    )
    return int(found[0][0])


async def until_none_waits(cluster: Cluster, url: DatabaseUrl) -> None:
    """Wait until no statement of a database runs."""
    async with asyncio.timeout(60):
        while waiting(cluster, url):
            await asyncio.sleep(0.01)


@contextmanager
def locked(cluster: Cluster, url: DatabaseUrl) -> Iterator[None]:
    """Keep the table for another session."""
    with cluster.connect(url.database) as other, other.transaction():
        other.execute("LOCK TABLE starts")
        yield


@pytest.mark.parametrize("atomic", [True, False])
async def test_a_statement_that_waits_too_long(
    cluster: Cluster, store: PostgresStore, url: DatabaseUrl, atomic: bool
) -> None:
    """It is cancelled at the server, too, so that none are left behind."""
    with quick(), locked(cluster, url):
        for _ in range(3):
            with pytest.raises(StoreError, match=r"no answer in 0\.5 s"):
                await store.run(insert, atomic=atomic)
        await until_none_waits(cluster, url)
    assert await store.run(count, write=False) == 0
    assert await store.run(insert, atomic=atomic) > 0


async def test_a_caller_that_is_gone(
    cluster: Cluster, store: PostgresStore, url: DatabaseUrl
) -> None:
    """Its job waits no longer than others, so that it does not keep a connection."""
    with quick(), locked(cluster, url):
        for _ in range(postgresql.POOL_SIZE):
            caller = asyncio.create_task(store.run(insert, atomic=False))
            while not (caller.done() or waiting(cluster, url)):
                await asyncio.sleep(0.01)
            caller.cancel()
            await asyncio.gather(caller, return_exceptions=True)
        await until_none_waits(cluster, url)
    assert await store.run(insert, atomic=False) > 0


async def test_a_server_that_does_not_answer(
    cluster: Cluster, store: PostgresStore
) -> None:
    """All jobs that come meanwhile fail; when it answers again the next ones work."""
    jobs = 3 * postgresql.POOL_SIZE
    await asyncio.gather(*(store.run(count, write=False) for _ in range(jobs)))
    cluster.pause()
    try:
        with quick(cancel_seconds=0.5):
            results = await asyncio.gather(
                *(store.run(insert, atomic=False) for _ in range(jobs)),
                return_exceptions=True,
            )
    finally:
        cluster.resume()
    assert [type(each) for each in results] == [StoreError] * jobs
    while True:
        # The threads of the lost connections may still be on their way.
        with suppress(StoreError):
            await store.run(count, write=False)
            break


class Job:
    """A job that counts its runs, and does something in the first one."""

    def __init__(self, first: Callable[[Connection], object]) -> None:
        self.runs = 0
        self._first = first

    def __call__(self, connection: Connection) -> int:
        self.runs += 1
        if self.runs == 1:
            self._first(connection)
        return insert(connection)


def end_connection(connection: Connection) -> None:
    """End the connection after something was changed with it."""
    insert(connection)
    connection.execute(SUICIDE)


async def test_a_connection_that_ends_within_a_transaction(
    store: PostgresStore,
) -> None:
    """The whole job runs again, once, and nothing of the first run is left."""
    job = Job(end_connection)
    await store.run(job)
    assert (job.runs, await store.run(count, write=False)) == (2, 1)


async def test_a_connection_that_ends_each_time(store: PostgresStore) -> None:
    """A job that loses two connections fails."""

    def job(connection: Connection) -> None:
        connection.execute(SUICIDE)

    with pytest.raises(StoreError, match="terminating connection"):
        await store.run(job)


@pytest.mark.parametrize(("write", "runs"), [(True, 1), (False, 2)])
async def test_a_connection_that_ends_in_a_single_statement(
    store: PostgresStore, write: bool, runs: int
) -> None:
    """It may have been committed: only one that reads runs again."""
    found = []

    def job(connection: Connection) -> int:
        found.append(1)
        if len(found) == 1:
            connection.execute(SUICIDE)
        return count(connection)

    with suppress(StoreError):
        assert await store.run(job, write=write, atomic=False) == 0
    assert len(found) == runs


async def test_a_connection_that_ends_in_a_commit(store: PostgresStore) -> None:
    """It may have been committed, so the job does not run again."""

    def at_commit(connection: Connection) -> None:
        for statement in (
            "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN PERFORM {SUICIDE.removeprefix('SELECT ')}; RETURN NULL; END $$",
            "CREATE CONSTRAINT TRIGGER die AFTER INSERT ON starts"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die()",
        ):
            connection.execute(statement)

    job = Job(lambda _: None)
    await store.run(at_commit)
    with pytest.raises(StoreError):
        await store.run(job)
    assert job.runs == 1


async def test_connections_that_end_at_random(
    cluster: Cluster, store: PostgresStore, url: DatabaseUrl
) -> None:
    """What a job has done is there once; what has failed is there once or not."""
    await store.run(lambda each: each.execute("CREATE TABLE done (number BIGINT)"))
    done, failed = set(), set()

    async def jobs(first: int) -> None:
        for number in range(first, first + 40):
            statement = "INSERT INTO done VALUES (?)"
            job = partial(_execute, statement=statement, parameters=(number,))
            try:
                await store.run(job, atomic=number % 2 == 0)
            except StoreError:
                failed.add(number)
            else:
                done.add(number)

    over = asyncio.Event()

    async def ends() -> None:
        while not over.is_set():
            await asyncio.to_thread(
                cluster.execute,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname"
                f" = '{url.database}' AND random() < 0.5",
            )

    ending = asyncio.create_task(ends())
    await asyncio.gather(*(jobs(1000 * worker) for worker in range(8)))
    over.set()
    await ending
    found = await store.run(
        lambda each: each.execute("SELECT number FROM done").fetchall(), write=False
    )
    numbers = [number for (number,) in found]
    assert len(numbers) == len(set(numbers))
    assert done <= set(numbers) <= done | failed


async def test_a_deadlock(
    cluster: Cluster, store: PostgresStore, url: DatabaseUrl
) -> None:
    """The job that PostgreSQL chooses to fail runs again."""
    cluster.execute(f"ALTER DATABASE {url.database} SET deadlock_timeout = '10ms'")
    lines = ("UPDATE ledger SET count = count + 1 WHERE line = 'answered'", "failed")
    first, second = lines[0], lines[0].replace("answered", lines[1])
    begun, crossed = threading.Event(), threading.Event()
    runs = []

    def job(connection: Connection) -> None:
        runs.append(1)
        connection.execute(first)
        begun.set()
        crossed.wait()
        connection.execute(second)

    def other_session() -> None:
        with cluster.connect(url.database) as other, other.transaction():
            other.execute("SET LOCAL deadlock_timeout = '60s'")
            other.execute(second.encode())
            begun.wait()
            other.execute(first.encode())

    def cross() -> None:
        observer = Session(url)
        try:
            wait_for_lock(observer)
        finally:
            observer.connection.close()
            crossed.set()

    # New connections have the setting.
    async with PostgresStore(url) as other_store:
        await asyncio.gather(
            other_store.run(job),
            asyncio.to_thread(other_session),
            asyncio.to_thread(cross),
        )
    found = await store.run(
        lambda each: each.execute(
            "SELECT sum(count) FROM ledger WHERE line IN ('answered', 'failed')"
        ).fetchone(),
        write=False,
    )
    assert (len(runs), found) == (2, (4,))


async def test_a_replica_that_stops_within_a_transaction(
    store: PostgresStore, url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends its connection, so that the others can write; it runs again."""
    short = calls.BEGIN_WRITE.replace("timeout = 4000", "timeout = 200")
    begun, go_on = threading.Event(), threading.Event()

    def stop(connection: Connection) -> None:
        insert(connection)
        begun.set()
        go_on.wait()

    job = Job(stop)
    async with PostgresStore(url) as stopped:
        with monkeypatch.context() as patched:
            patched.setattr(calls, "BEGIN_WRITE", short)
            running = asyncio.create_task(stopped.run(job))
            await asyncio.to_thread(begun.wait)
        await store.run(insert)
        go_on.set()
        await running
    assert (job.runs, await store.run(count, write=False)) == (2, 2)


async def test_a_server_that_only_reads(
    cluster: Cluster, store: PostgresStore, url: DatabaseUrl
) -> None:
    """Writes fail and reads work; both work again without a restart of the gateway."""
    change = f"ALTER DATABASE {url.database} SET default_transaction_read_only"
    cluster.execute(f"{change} = on")
    cluster.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE datname = '{url.database}'"
    )
    for atomic in (True, False):
        with pytest.raises(StoreError, match="in a read-only transaction") as caught:
            await store.run(insert, atomic=atomic)
        assert not caught.value.no_space
    assert await store.run(count, write=False) == 0
    cluster.execute(f"{change} = off")
    for atomic in (True, False):
        await store.run(insert, atomic=atomic)
    assert await store.run(count, write=False) == 2


@pytest.fixture
def small_disk(cluster: Cluster) -> Iterator[Path]:
    """Return a folder of the server with 4 MiB; skip without the rights to mount."""
    folder = cluster.folder / "small"
    folder.mkdir()
    owner = cluster.folder.stat().st_uid
    mount = ["mount", "-t", "tmpfs", "-o", f"size=4m,uid={owner},mode=700", "tmpfs"]
    done = os.geteuid() or subprocess.run([*mount, folder], check=False).returncode
    if done:
        pytest.skip("no right to mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


async def test_a_full_disk(
    cluster: Cluster, url: DatabaseUrl, small_disk: Path
) -> None:
    """It is known as one, and writes work again when there is space."""
    cluster.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
    try:
        cluster.execute("ALTER TABLE probe SET TABLESPACE small", url.database)

        def fill(connection: Connection) -> None:
            connection.execute(
                "INSERT INTO probe VALUES (1, ?) ON CONFLICT (id) DO UPDATE"
                " SET content = excluded.content",
                (os.urandom(5 << 20),),
            )

        async with PostgresStore(url) as store:
            with pytest.raises(StoreError, match="No space left on device") as caught:
                await store.run(fill)
            assert caught.value.no_space
            assert await store.run(insert) > 0
    finally:
        cluster.drop_database(url.text)
        cluster.execute("DROP TABLESPACE small")


async def test_a_server_that_is_gone(cluster: Cluster, url: DatabaseUrl) -> None:
    """A store can be opened, or used, again when the server is there."""
    cluster.stop()
    store = PostgresStore(url)
    with pytest.raises(StoreError, match="Connection refused"):
        inspect_postgresql(url)
    with pytest.raises(StoreError, match="Connection refused"):
        await store.__aenter__()
    await asyncio.to_thread(cluster.start)
    async with store:
        assert await store.run(count, write=False) == 0
        cluster.stop()
        # Refused, or the end of a connection that was being made when it stopped.
        with pytest.raises(StoreError, match="cannot be reached: "):
            await store.run(insert)
        cluster.start()
        assert await store.run(insert) == 1


async def test_waiting_for_jobs_that_run_on(store: PostgresStore) -> None:
    """Their changes are there afterwards, and the store takes further jobs."""
    begun, go_on = threading.Event(), threading.Event()

    def job(connection: Connection) -> None:
        begun.set()
        go_on.wait()
        insert(connection)

    caller = asyncio.create_task(store.run(job))
    await asyncio.to_thread(begun.wait)
    caller.cancel()
    settled = asyncio.create_task(store.settle())
    await asyncio.wait({caller})
    assert not settled.done()
    go_on.set()
    await settled
    assert await store.run(count, write=False) == 1


async def test_a_job_that_runs_on(store: PostgresStore, url: DatabaseUrl) -> None:
    """It is not ended with its caller; a store that is closed takes no other one."""
    begun, go_on = threading.Event(), threading.Event()

    def job(connection: Connection) -> None:
        begun.set()
        go_on.wait()
        insert(connection)

    async with PostgresStore(url) as other:
        caller = asyncio.create_task(other.run(job))
        await asyncio.to_thread(begun.wait)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        go_on.set()
    assert await store.run(count, write=False) == 1
    with pytest.raises(StoreError, match="the database is closed"):
        await other.run(insert)


async def test_versions(url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer database is refused by all; an older one is changed by the gateway."""
    later = (*schema.STEPS, "ALTER TABLE starts ADD COLUMN more BIGINT")
    with monkeypatch.context() as patched:
        patched.setattr(schema, "STEPS", later)
        patched.setattr(schema, "VERSION", len(later))
        with (
            pytest.raises(OperatorError, match="crocbot database upgrade"),
            opened_postgresql(url),
        ):
            pass
        async with PostgresStore(url):
            assert inspect_postgresql(url) == len(later)
    with pytest.raises(OperatorError, match="newer crocbot"), opened_postgresql(url):
        pass
    with pytest.raises(OperatorError, match="newer crocbot"):
        upgrade(url)
    with pytest.raises(OperatorError, match="newer crocbot"):
        await PostgresStore(url).__aenter__()


@pytest.mark.parametrize(
    ("statements", "text"),
    [
        (["CREATE TABLE rows (x INT)"], 'relation "rows" already exists'),
        (["REVOKE CREATE ON SCHEMA public FROM public"], "permission denied"),
        (
            ["ALTER ROLE poor SET default_transaction_isolation = 'serializable'"],
            "default_transaction_isolation is serializable",
        ),
    ],
)
def test_a_database_that_cannot_be_used(
    cluster: Cluster, database_url: str, statements: list[str], text: str
) -> None:
    """One line says what is in the way, and nothing is changed."""
    name = DatabaseUrl.parse(database_url).database
    cluster.execute("CREATE ROLE poor LOGIN PASSWORD 'x'")
    try:
        cluster.execute("GRANT CREATE ON SCHEMA public TO public", name)
        for each in statements:
            cluster.execute(each, name)
        url = DatabaseUrl.parse(cluster.url(name, user="poor", password="x"))
        with pytest.raises(OperatorError, match=text):
            upgrade(url)
    finally:
        cluster.execute("DROP OWNED BY poor", name)
        cluster.execute("DROP ROLE poor")


def test_another_encoding(cluster: Cluster) -> None:
    """Only UTF-8 stores what people write."""
    cluster.execute(
        "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
        " TEMPLATE template0"
    )
    url = DatabaseUrl.parse(cluster.url("latin"))
    try:
        with pytest.raises(OperatorError, match="encoding of the database is LATIN1"):
            upgrade(url)
    finally:
        cluster.drop_database(url.text)


async def test_notifications(store: PostgresStore, cluster: Cluster) -> None:
    """They arrive with the commit; the end of the connection is an error."""
    payloads = store.listen("a channel")
    assert await anext(payloads) == ""
    await store.run(lambda each: each.execute("SELECT pg_notify('a channel', 'x 1')"))
    assert await anext(payloads) == "x 1"
    cluster.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE query LIKE 'LISTEN%'"
    )
    with pytest.raises(StoreError, match="connection"):
        await anext(payloads)


def test_psycopg_is_there() -> None:
    """The tests run with the implementation in C, like the extra."""
    assert psycopg.pq.__impl__ == "binary"


async def test_a_pooler_in_transaction_mode(cluster: Cluster, url: DatabaseUrl) -> None:
    """Jobs of several stores share two connections; what a job sets ends with it."""
    if PROGRAM is None:
        pytest.skip(MISSING)
    with Pooler(cluster, size=2) as pooler:
        pooled = DatabaseUrl.parse(pooler.url(url.text))
        async with PostgresStore(pooled) as one, PostgresStore(pooled) as two:
            jobs = [
                each.run(insert, atomic=atomic, durable=durable)
                for each in (one, two)
                for atomic in (True, False)
                for durable in (True, False)
                for _ in range(20)
            ]
            await asyncio.gather(*jobs)
            await one.run(
                lambda each: each.executemany(
                    "INSERT INTO starts (at) VALUES (?)", [(n,) for n in range(100)]
                )
            )
            assert await two.run(count, write=False) == len(jobs) + 100
            left = await asyncio.gather(
                *(
                    one.run(
                        lambda each: each.execute(
                            "SELECT current_setting('synchronous_commit'),"
                            " current_setting('statement_timeout')"
                        ).fetchone(),
                        atomic=False,
                    )
                    for _ in range(10)
                )
            )
            assert set(left) == {("on", "0")}
            cluster.restart()
            with suppress(StoreError):
                await one.run(insert)
            await one.run(insert)
