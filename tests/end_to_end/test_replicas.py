"""
Three replicas on one PostgreSQL, which fail at random while they work: nothing is lost.

    3,000 updates in 60 chats --> three gateways --> answers
        kill -9 and start, SIGSTOP beyond the lease and SIGCONT, PostgreSQL restarted

Every update is answered, those of a chat in order as Telegram saw the answers, with
long polling and with a webhook, whose requests come for many chats at once, some of
them to two replicas.  An answer whose row was not closed before a fault is
sent again: at most one for each turn in flight.  What a replica writes that was paused
beyond its leases is refused.  The figures are printed.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from crocbot.sandbox.faults import Slow
from tests.end_to_end.replicas import MAX_TURNS, AnswerLog, Replica, Replicas
from tests.end_to_end.world import World
from tests.postgresql import Cluster, find_programs

pytestmark = pytest.mark.skipif(
    find_programs() is None,
    reason="PostgreSQL is not installed: apt install postgresql",
)

CHATS = 60
UPDATES = int(os.environ.get("REPLICAS_UPDATES", "3000"))
COUNT = 3
PAUSE_SECONDS = 13.0
"""Longer than a lease (10 s) and the takeover by another replica."""
FAULTS = ("kill", "kill", "kill", "pause", "pause", "restart PostgreSQL")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A server of its own, since it is restarted."""
    with Cluster() as cluster:
        yield cluster


class Faults:
    """What happens to the replicas, chosen by `chance`, and how often it did."""

    def __init__(
        self,
        replicas: Replicas,
        cluster: Cluster,
        answers: AnswerLog,
        chance: random.Random,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._replicas = replicas
        self._cluster = cluster
        self._answers = answers
        self._chance = chance

    async def happen(self, fault: str) -> None:
        """Let one fault happen; return when all replicas run again."""
        self.counts[fault] += 1
        await asyncio.sleep(self._chance.uniform(0, 0.2))
        if fault == "kill":
            replica = self._chance.choice(list(self._replicas))
            await replica.kill()
            await replica.start()
        elif fault == "pause":
            await self._pause()
        else:
            mode = self._chance.choice(["fast", "immediate"])
            await asyncio.to_thread(self._cluster.restart, mode)

    async def _pause(self) -> None:
        """Pause a replica in the middle of its turns, until others have its chats."""
        replica = await self._replicas[0].world.eventually(self._busy)
        replica.pause()
        await asyncio.sleep(PAUSE_SECONDS)
        replica.resume()

    def _busy(self) -> Replica | None:
        """Return a replica with turns in flight, and let there be enough for all."""
        if self._answers.missing < CHATS:
            self._answers.write(1)
        busy = [
            each
            for each in self._replicas
            if each.sink.gauges.get("crocbot.turns_in_flight", 0) > 0
        ]
        return self._chance.choice(busy) if busy else None

    @property
    def max_duplicates(self) -> int:
        """Return the turns that can have been in flight at all faults."""
        restarts = self.counts["restart PostgreSQL"]
        others = self.counts.total() - restarts
        return MAX_TURNS * (others + restarts * len(self._replicas))


@pytest.mark.parametrize("mode", ["polling", "webhook"])
async def test_nothing_is_lost(
    world: World, cluster: Cluster, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Replicas that fail at random answer all, in order, and the ledger closes."""
    seed = int(os.environ.get("REPLICAS_SEED", random.randrange(10**9)))
    chance = random.Random(seed)
    # So that some turns are always in flight.
    world.server.fault("sendMessage", Slow(0.03), times=10 * UPDATES)
    answers = AnswerLog(world, CHATS)
    urls = [cluster.create_database()] * COUNT
    began = time.monotonic()
    webhook = mode == "webhook"
    async with Replicas.open(world, urls, webhook=webhook, at_once=webhook) as replicas:
        await replicas.start_all()
        faults = Faults(replicas, cluster, answers, chance)
        order = chance.sample(FAULTS, len(FAULTS))
        each = UPDATES // CHATS // (len(order) + 1)
        for fault in order:
            answers.write(each)
            await answers.wait_for(answers.answered + chance.randrange(1, CHATS))
            await faults.happen(fault)
        answers.write(max(1, (UPDATES - answers.expected) // CHATS))
        await answers.wait_for_all()
        await world.eventually(lambda: replicas.ledger_closes(answers.expected))
        figures = {
            "mode": mode,
            "seed": seed,
            "seconds": round(time.monotonic() - began, 1),
            "updates": answers.expected,
            "lost": answers.missing,
            "chats out of order": len(answers.disorder),
            "duplicates": answers.duplicates,
            "at most": faults.max_duplicates,
            "faults": dict(faults.counts),
            "refused": refused(replicas),
            "ledger": replicas.ledger(),
        }
        with capsys.disabled():
            print(f"\n{figures}")
        codes = await asyncio.gather(*(each.stop() for each in replicas))

    assert answers.expected >= UPDATES
    assert answers.missing == 0, figures
    assert answers.disorder == {}, figures
    assert answers.duplicates <= faults.max_duplicates, figures
    assert refused(replicas)["chats"] > 0, figures
    assert codes == [0] * COUNT, figures
    assert open_rows(cluster, urls[0]) == 0, figures


def refused(replicas: Replicas) -> dict[str, float]:
    """Return what replicas could not write, or gave up, because of a lost lease."""
    return {
        "rows": replicas.total("crocbot.lease_writes_refused"),
        "chats": replicas.total("crocbot.leases_lost"),
    }


def open_rows(cluster: Cluster, url: str) -> Any:
    """Return how many rows the database has that are not closed."""
    name = url.rpartition("/")[2]
    rows = cluster.execute("SELECT count(*) FROM rows WHERE disposition IS NULL", name)
    return rows[0][0]
