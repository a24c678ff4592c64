"""The clock of the database server is changed by hours while two replicas work."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.end_to_end.test_database_faults import Scene, cluster, open_scene
from tests.end_to_end.world import World
from tests.postgresql import MISSING, Cluster, find_programs

pytestmark = pytest.mark.skipif(find_programs() is None, reason=MISSING)
__all__ = ["cluster"]

HOUR = 3600.0
# The tables come into this schema as well, since it is the first one.
CLOCK = """
CREATE SCHEMA stepped;
CREATE TABLE stepped.step (seconds DOUBLE PRECISION);
INSERT INTO stepped.step VALUES (0);
CREATE FUNCTION stepped.clock_timestamp() RETURNS TIMESTAMPTZ LANGUAGE SQL AS $$
    SELECT pg_catalog.clock_timestamp()
        + make_interval(secs => (SELECT seconds FROM stepped.step))
$$;
CREATE FUNCTION stepped.now() RETURNS TIMESTAMPTZ LANGUAGE SQL AS $$
    SELECT stepped.clock_timestamp()
$$;
"""


@pytest.fixture
async def scene(world: World, cluster: Cluster) -> AsyncIterator[Scene]:
    """Two replicas at work on a server whose clock can be changed."""
    url = cluster.create_database()
    name = url.rpartition("/")[2]
    for statement in CLOCK.strip().split(";\n"):
        cluster.execute(statement, name)
    cluster.execute(
        f"ALTER DATABASE {name} SET search_path = stepped, pg_catalog, public"
    )
    async with open_scene(world, cluster, url) as scene:
        yield scene


def change_clock(scene: Scene, seconds: float) -> None:
    """Change the clock of the server by some seconds."""
    scene.execute(f"UPDATE stepped.step SET seconds = seconds + {seconds}")


async def test_no_lease_is_lost(scene: Scene) -> None:
    """Replicas that renew their leases keep them, so that nothing is sent twice."""
    for seconds in (HOUR, -2 * HOUR, HOUR):
        scene.answers.write(40)
        await scene.answers.wait_for(scene.answers.answered + 1)
        change_clock(scene, seconds)
        await scene.answers.wait_for_all()
        scene.answers.write(1)
        await scene.answers.wait_for_all()
    assert scene.replicas.total("crocbot.leases_lost") == 0
    assert scene.answers.duplicates == 0
    await scene.recover()


async def test_a_replica_has_ended_before(scene: Scene) -> None:
    """Its leases would last for another hour; the other replica takes them over."""
    leader = await scene.world.eventually(lambda: scene.replicas.leader)
    scene.answers.write(4)
    await scene.answers.wait_for(scene.answers.answered + 1)
    await leader.kill()
    change_clock(scene, -HOUR)
    scene.answers.write(1)
    await scene.answers.wait_for_all()
    await leader.start()
    await scene.recover()
