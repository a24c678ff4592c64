"""
What happens to PostgreSQL, and to the way to it, while two replicas work.

Whatever the fault: every accepted message is answered, those of a chat in order, no row
is closed twice, intake pauses and resumes by itself, and health and metrics say so.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crocbot.sandbox.faults import Slow
from tests.end_to_end.replicas import (
    MAX_TURNS,
    AnswerLog,
    Gate,
    Replica,
    Replicas,
    through,
)
from tests.end_to_end.world import World
from tests.ports import HOST
from tests.postgresql import MISSING, PASSWORD, USER, Cluster, find_programs

pytestmark = pytest.mark.skipif(find_programs() is None, reason=MISSING)

CHATS = 20
EACH = 6
OUTAGE_SECONDS = 25.0
"""A lease (10 s) and 15 s more."""
SHORT_SECONDS = 12.0
BUSY_SECONDS = 8.0
SETTINGS = {"deadlock_timeout": "100ms"}
MAX_DUPLICATES = 2 * MAX_TURNS
LOST_ANSWERS = 0.05
"""The probability."""
MAX_LOST = 60
MAX_ENDED = 100
"""Connections that are terminated."""
MAX_MISSING = 600
"""Messages that wait at once for a database without space."""
SLOW_TABLES = ("rows", "chats", "ledger", "leases")
SLOW = """
CREATE FUNCTION slow() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF random() < 0.05 THEN PERFORM pg_sleep(3 + 4 * random()); END IF;
    RETURN NULL;
END $$
"""


class Scene:
    """Two replicas, each with a gate of its own to the database."""

    def __init__(
        self,
        world: World,
        cluster: Cluster,
        replicas: Replicas,
        gates: list[Gate],
        database: str,
    ) -> None:
        self.world = world
        self.cluster = cluster
        self.replicas = replicas
        self.gates = gates
        self.database = database
        self.answers = AnswerLog(world, CHATS)

    async def work(self, each: int = EACH) -> None:
        """Write messages in all chats, and wait until some are answered."""
        self.answers.write(each)
        await self.answers.wait_for(self.answers.answered + CHATS)

    async def not_ready(self, *replicas: Replica) -> None:
        """Wait until these replicas say that they are not ready."""
        for each in replicas or self.replicas:
            await self.world.eventually(partial(not_ready, each))

    async def recover(self) -> None:
        """Check that all is answered, in order and once, and that all are ready."""
        self.answers.write(1)
        await self.answers.wait_for_all()
        for each in self.replicas:
            await self.world.eventually(each.ready)
        expected = self.answers.expected
        await self.world.eventually(lambda: self.replicas.ledger_closes(expected))

        assert self.answers.disorder == {}
        assert self.answers.duplicates <= MAX_DUPLICATES
        assert await asyncio.gather(*(each.stop() for each in self.replicas)) == [0, 0]

    def execute(self, statement: str) -> list[Any]:
        """Run a statement in the database, not by a gate."""
        return self.cluster.execute(statement, self.database)

    async def run(self, statement: str) -> list[Any]:
        """Run a statement while the gates go on, since it may wait for a lock."""
        return await asyncio.to_thread(self.execute, statement)

    @property
    def errors(self) -> float:
        """The number of errors of the inbox that all replicas have counted."""
        return self.replicas.total("crocbot.errors.inbox")


async def not_ready(replica: Replica) -> bool:
    """Return whether /readyz is not served with 200."""
    return not await replica.ready()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A server of its own, since it is harmed."""
    with Cluster(settings=SETTINGS) as cluster:
        yield cluster


@contextlib.asynccontextmanager
async def open_scene(
    world: World, cluster: Cluster, url: str = ""
) -> AsyncIterator[Scene]:
    """Start two replicas on a database and let them answer something."""
    world.server.fault("sendMessage", Slow(0.03), times=10**6)
    url = url or cluster.create_database()
    async with contextlib.AsyncExitStack() as stack:
        gates = [
            await stack.enter_async_context(Gate(cluster.port).listen())
            for _ in range(2)
        ]
        urls = [through(url, gate.port) for gate in gates]
        replicas = await stack.enter_async_context(Replicas.open(world, urls))
        await replicas.start_all()
        scene = Scene(world, cluster, replicas, gates, url.rpartition("/")[2])
        await scene.work()
        yield scene


@pytest.fixture
async def scene(world: World, cluster: Cluster) -> AsyncIterator[Scene]:
    """Two replicas at work."""
    async with open_scene(world, cluster) as scene:
        yield scene


async def test_the_database_is_gone(scene: Scene) -> None:
    """Nothing is accepted meanwhile, and Telegram keeps it; replicas come back."""
    await asyncio.to_thread(scene.cluster.stop, "immediate")
    await scene.not_ready()
    errors = scene.errors
    answered = scene.answers.answered
    scene.answers.write(EACH)
    await asyncio.sleep(OUTAGE_SECONDS)
    assert scene.answers.answered - answered <= MAX_DUPLICATES
    await scene.world.eventually(lambda: scene.errors > errors)
    assert all(each.running for each in scene.replicas)

    await asyncio.to_thread(scene.cluster.start)
    await scene.recover()


async def test_the_database_restarts_again_and_again(scene: Scene) -> None:
    """In each mode, under load."""
    for mode in ("fast", "immediate", "fast"):
        scene.answers.write(EACH)
        await asyncio.to_thread(scene.cluster.restart, mode)
    await scene.recover()


async def test_the_database_is_read_only(scene: Scene) -> None:
    """As a standby is to which a name leads by mistake."""
    await asyncio.to_thread(set_read_only, scene, "on")
    scene.answers.write(EACH)
    await scene.not_ready()
    await asyncio.sleep(SHORT_SECONDS)
    await scene.world.eventually(lambda: scene.errors > 0)
    await asyncio.to_thread(set_read_only, scene, "off")
    await scene.recover()


def set_read_only(scene: Scene, value: str) -> None:
    """Change it for all connections, from their next transaction on."""
    with scene.cluster.connect() as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(
            f"ALTER SYSTEM SET default_transaction_read_only = {value}".encode()
        )
        connection.execute("SELECT pg_reload_conf()")


async def test_the_database_is_slow(scene: Scene) -> None:
    """Each step takes longer, and nothing else changes."""
    for gate in scene.gates:
        gate.delay_seconds = 0.1
    await scene.work()
    await asyncio.sleep(BUSY_SECONDS)
    for gate in scene.gates:
        gate.delay_seconds = 0.0
    await scene.recover()


async def test_some_statements_are_slow(scene: Scene) -> None:
    """They hold their locks for seconds; all others go on."""
    await scene.run(SLOW)
    for table in SLOW_TABLES:
        await scene.run(
            f"CREATE TRIGGER slow AFTER INSERT OR UPDATE ON {table}"
            " EXECUTE FUNCTION slow()"
        )
    loop = asyncio.get_running_loop()
    end = loop.time() + BUSY_SECONDS

    async def ended() -> bool:
        return loop.time() > end

    await keep_busy(scene, ended)
    for table in SLOW_TABLES:
        await scene.run(f"DROP TRIGGER slow ON {table}")
    await scene.recover()


async def test_connections_end_in_the_middle(scene: Scene) -> None:
    """Backends of the replicas are terminated at random while messages run."""
    statement = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        f" WHERE datname = '{scene.database}' AND pid <> pg_backend_pid()"
        " AND random() < 0.5"
    )
    ended = 0

    async def enough() -> bool:
        nonlocal ended
        ended += int((await scene.run(statement))[0][0])
        await asyncio.sleep(random.uniform(0, 0.15))
        return ended >= MAX_ENDED

    await keep_busy(scene, enough)
    await scene.recover()


async def test_answers_of_the_database_are_lost(scene: Scene) -> None:
    """Each statement may have been committed, whatever it was: it is not known."""
    chance = random.Random()
    for gate in scene.gates:
        gate.cuts = lambda: chance.random() < LOST_ANSWERS
    await keep_busy(scene, lambda: lost_answers(scene))
    for gate in scene.gates:
        gate.cuts = None
    await scene.recover()


async def test_deadlocks(scene: Scene) -> None:
    """Another session locks the rows of two chats in the other order."""
    stop = asyncio.Event()
    locking = asyncio.create_task(asyncio.to_thread(lock_backwards, scene, stop))
    try:
        await keep_busy(scene, lambda: deadlocks(scene))
    finally:
        stop.set()
        await locking
    await scene.recover()


async def keep_busy(scene: Scene, until: Callable[[], Awaitable[bool]]) -> None:
    """Write messages until a condition is true."""

    async def done() -> bool:
        if scene.answers.missing < CHATS:
            scene.answers.write(1)
        return await until()

    await scene.world.eventually(done)


async def deadlocks(scene: Scene) -> bool:
    """Return whether the server has resolved some deadlocks."""
    statement = (
        f"SELECT deadlocks FROM pg_stat_database WHERE datname = '{scene.database}'"
    )
    return bool((await scene.run(statement))[0][0] >= 3)


async def lost_answers(scene: Scene) -> bool:
    """Return whether enough answers were lost."""
    return sum(each.answers_lost for each in scene.gates) >= MAX_LOST


def lock_backwards(scene: Scene, stop: asyncio.Event) -> None:
    """Lock the rows of chats from the last to the first, again and again."""
    while not stop.is_set():
        with (
            contextlib.suppress(psycopg.Error),
            scene.cluster.connect(scene.database) as connection,
            connection.transaction(),
        ):
            for chat in range(CHATS, 0, -1):
                connection.execute(
                    "SELECT 1 FROM chats WHERE chat = %s FOR UPDATE", (chat,)
                )


async def test_one_replica_is_cut_off(scene: Scene) -> None:
    """The other one takes its chats over; when it is back, it closes nothing twice."""
    cut, other = scene.replicas[0], scene.replicas[1]
    scene.answers.write(EACH)
    scene.gates[0].block()
    await scene.not_ready(cut)
    await scene.answers.wait_for_all()
    scene.answers.write(EACH)
    await scene.answers.wait_for_all()
    await scene.world.eventually(other.ready)
    await scene.world.eventually(lambda: scene.replicas.leader is other)
    assert not await cut.ready()

    scene.gates[0].unblock()
    await scene.recover()


async def test_all_connections_are_reset(scene: Scene) -> None:
    """As by a firewall that forgets them, again and again."""
    for _ in range(10):
        scene.answers.write(1)
        for gate in scene.gates:
            gate.cut()
        await asyncio.sleep(0.3)
    await scene.recover()


class Standby(Cluster):
    """A server that follows another one until it is promoted."""

    def __init__(self, primary: Cluster) -> None:
        super().__init__()
        self._primary = primary

    def promote(self) -> None:
        """Accept writes."""
        self.execute("SELECT pg_promote()")

    def _initialize(self) -> None:
        if self._identity:
            os.chown(self.folder, self._identity["user"], self._identity["group"])
        process = self._popen(
            "pg_basebackup",
            *("-D", str(self.folder / "data"), "--write-recovery-conf"),
            *("--wal-method=stream", "--checkpoint=fast"),
            f"--dbname=host={HOST} port={self._primary.port} user={USER}"
            f" password={PASSWORD}",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        shown, _ = process.communicate()
        assert process.returncode == 0, shown.decode()


async def follow_synchronously(scene: Scene) -> None:
    """Let every commit from now on wait for the standby."""
    await scene.run("ALTER SYSTEM SET synchronous_standby_names = '*'")
    await scene.run("SELECT pg_reload_conf()")

    async def is_read() -> bool:
        # Of a new session, which has what the server has read.
        return await scene.run("SHOW synchronous_standby_names") == [("*",)]

    await scene.world.eventually(is_read)
    # Its process, which has the signal by now, lets commits wait from then on.
    await scene.run("CHECKPOINT")


async def test_the_database_fails_over(scene: Scene) -> None:
    """Its machine ends, and a synchronous standby is promoted in its place."""
    with contextlib.ExitStack() as stack:
        standby = Standby(scene.cluster)
        stack.push(standby)
        await asyncio.to_thread(standby.__enter__)
        await follow_synchronously(scene)
        await scene.work()
        await asyncio.to_thread(scene.cluster.kill)
        for gate in scene.gates:
            gate.target = standby.port
            gate.cut()
        scene.answers.write(EACH)
        await scene.not_ready()
        await asyncio.to_thread(standby.promote)
        await scene.recover()


@pytest.fixture
def small_disk(cluster: Cluster) -> Iterator[Path]:
    """A file system of 32 MiB in a folder of the server, which may enter it."""
    if os.geteuid():
        pytest.skip("only root can mount a small file system")
    folder = cluster.folder / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m,mode=0777", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted: {mounted.stderr.decode()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


async def test_the_disk_of_the_database_is_full(
    world: World, cluster: Cluster, small_disk: Path
) -> None:
    """Nothing is accepted until there is space again."""
    # The tables alone: without space for its log PostgreSQL ends.
    space = small_disk / "tables"
    space.mkdir()
    shutil.chown(space, *owner(cluster.folder / "data"))
    cluster.execute(f"CREATE TABLESPACE small LOCATION '{space}'")
    cluster.execute("CREATE DATABASE small TABLESPACE small")
    async with open_scene(world, cluster, cluster.url("small")) as scene:
        filler = small_disk / "filler"

        def refuses() -> bool:
            fill(filler)
            if scene.answers.missing < MAX_MISSING:
                scene.answers.write(1, digits=2000)
            return scene.errors > 0

        await world.eventually(refuses)
        await asyncio.sleep(BUSY_SECONDS)
        filler.unlink()
        await scene.recover()


def owner(folder: Path) -> tuple[str, str]:
    """Return the user and the group of a folder."""
    return folder.owner(), folder.group()


def fill(file: Path) -> None:
    """Write until there is no space."""
    with contextlib.suppress(OSError), file.open("ab", buffering=0) as out:
        while True:
            out.write(b"x" * 4096)
