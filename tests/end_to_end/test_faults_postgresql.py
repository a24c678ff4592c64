"""Each fault of PostgreSQL in docs/operations.md is visible where the page says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from crocbot.sandbox import Server
from tests.end_to_end.programs import Run
from tests.end_to_end.test_faults import End, Proxy, Scene, meet, stage, table
from tests.end_to_end.world import World
from tests.postgresql import Cluster

ROWS = {row.fault: row for row in table("Faults of PostgreSQL")}
REFUSED = {
    "PostgreSQL refuses the password": ("correct-horse", "a-wrong-one"),
    "there is no such database": ("/test_", "/missing_"),
}
NEWER = "the tables are of a later version"
OTHER_BOT = "another bot uses the database"
OTHER = "other-1a2b3c"
LATE = "PostgreSQL starts after the gateway"


class Database:
    """A database of a cluster of its own, and what a test does to it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.url = cluster.create_database()
        self.name = self.url.rpartition("/")[2]

    async def stop(self, _: Scene) -> End:
        """Stop the server until the end of the fault."""
        await asyncio.to_thread(self.cluster.stop)
        return self._start

    async def pause(self, _: Scene) -> End:
        """Let the server answer nothing, until the end of the fault."""
        self.cluster.pause()
        return self._resume

    async def refuse_writes(self, _: Scene) -> End:
        """Let the server only read, as after a failover."""
        await self._set_read_only("on")
        return self._accept_writes

    async def take_the_lease(self, _: Scene) -> End:
        """Let another replica lead, until the end of the fault."""
        await self.execute(
            f"UPDATE leases SET owner = '{OTHER}', epoch = nextval('lease_epochs'),"
            " until = clock_timestamp() + interval '12 s' WHERE name = 'leader'"
        )
        renewing = asyncio.create_task(self._renew())

        async def end() -> None:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            await self._lease_until("0 s")

        return end

    async def _renew(self) -> None:
        while True:
            await self._lease_until("12 s")
            await asyncio.sleep(1)

    async def _lease_until(self, interval: str) -> None:
        await self.execute(
            f"UPDATE leases SET until = clock_timestamp() + interval '{interval}'"
            f" WHERE name = 'leader' AND owner = '{OTHER}'"
        )

    async def execute(self, statement: str) -> None:
        """Run a statement."""
        await asyncio.to_thread(self.cluster.execute, statement, self.name)

    async def _start(self) -> None:
        await asyncio.to_thread(self.cluster.start)

    async def _resume(self) -> None:
        self.cluster.resume()

    async def _accept_writes(self) -> None:
        await self._set_read_only("off")

    async def _set_read_only(self, value: str) -> None:
        # Of sessions that begin, and of those that are there.
        for statement in (
            f"ALTER SYSTEM SET default_transaction_read_only = {value}",
            "SELECT pg_reload_conf()",
        ):
            await asyncio.to_thread(self.cluster.execute, statement)


@pytest.fixture
def database() -> Iterator[Database]:
    """Return a database whose server the test may stop."""
    with Cluster() as cluster:
        yield Database(cluster)


def test_the_page_has_every_fault() -> None:
    """The page and this file have the same faults."""
    assert set(ROWS) == {*CAUSES, *REFUSED, NEWER, OTHER_BOT, LATE}


CAUSES = {
    "PostgreSQL stops": Database.stop,
    "PostgreSQL only reads": Database.refuse_writes,
    "PostgreSQL does not answer": Database.pause,
    "another replica takes the lead": Database.take_the_lease,
}


async def test_every_temporary_fault(world: World, database: Database) -> None:
    """Each is visible where the page says; after it people are answered again."""
    async with stage(world, CROCBOT_DATABASE_URL=database.url) as scene:
        await scene.answered("before")
        for fault, cause in CAUSES.items():
            await meet(scene, ROWS[fault], cause.__get__(database))
        assert "Traceback" not in scene.log


async def test_a_replica_that_starts_before_its_database(
    world: World, database: Database
) -> None:
    """It waits, and its health page says what for."""
    row = ROWS[LATE]
    await asyncio.to_thread(database.cluster.stop)
    gateway = await world.start(
        "crocbot", "gateway", **world.settings(), CROCBOT_DATABASE_URL=database.url
    )
    scene = Scene(world, gateway, Proxy(world.server.url))

    async def waits() -> bool:
        return row.log in scene.log and row.ready in await scene.ready()

    await scene.eventually(lambda: row.log in scene.log)
    await scene.eventually(waits)
    await asyncio.to_thread(database.cluster.start)
    await scene.answered("after the start")
    assert await gateway.stop() == 0


@pytest.mark.parametrize("fault", REFUSED)
def test_a_database_that_refuses(run: Run, database_url: str, fault: str) -> None:
    """The start ends with one line, without the password, and exit code 2."""
    old, new = REFUSED[fault]
    assert old in database_url
    errors = start(run, database_url.replace(old, new))

    assert ROWS[fault].log in errors
    assert "a-wrong-one" not in errors


def test_tables_of_a_later_version(run: Run, database: Database) -> None:
    """They are refused like a file of a later version."""
    database.cluster.execute(
        "CREATE TABLE schema_version (id INT PRIMARY KEY, version INT NOT NULL)",
        database.name,
    )
    database.cluster.execute(
        "INSERT INTO schema_version VALUES (1, 1000)", database.name
    )

    assert ROWS[NEWER].log in start(run, database.url)


async def test_another_bot(world: World, database_url: str) -> None:
    """A gateway of another bot ends at its start, and changes nothing."""
    async with stage(world, CROCBOT_DATABASE_URL=database_url) as scene:
        await scene.answered("before")
        async with Server(token="2:other") as other:
            second = await world.start(
                "crocbot",
                "gateway",
                **{
                    **world.settings(),
                    "TELEGRAM_BOT_TOKEN": other.token,
                    "CROCBOT_TELEGRAM_API_URL": other.url,
                    "CROCBOT_STATE_DIR": str(world.home / "second"),
                    "CROCBOT_HEALTH_ADDRESS": "off",
                    "CROCBOT_DATABASE_URL": database_url,
                },
            )
            assert await second.process.wait() == 2
            assert not other.calls["getupdates"]
        assert ROWS[OTHER_BOT].log in second.output.read_text()
        await scene.answered("after")


def start(run: Run, url: str) -> str:
    """Start a gateway that must end at once with exit code 2; return its one line."""
    gateway = run(
        "crocbot",
        "gateway",
        TELEGRAM_BOT_TOKEN="1:token",
        CROCBOT_ACCESS="open",
        CROCBOT_HEALTH_ADDRESS="off",
        CROCBOT_DATABASE_URL=url,
    )
    code, _, errors = gateway.end()
    assert code == 2
    assert len(errors.strip().splitlines()) == 1
    return errors
