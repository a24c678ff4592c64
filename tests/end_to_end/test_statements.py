"""How many statements a message costs that comes alone, as PostgreSQL counts them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

from crocbot.sandbox import Person
from tests.crocbot.fakes import serving
from tests.end_to_end.test_cost import complete
from tests.end_to_end.test_leader import Replica
from tests.end_to_end.world import World
from tests.postgresql import MISSING, Cluster, find_programs

PAGE = Path(__file__).parents[2] / "docs" / "many-machines.md"
ADA = Person(1001, "Ada")
MESSAGES = 3
MAX_STATEMENTS = 6
SETTINGS = {"shared_preload_libraries": "pg_stat_statements"}
OF_THE_TEST = "SELECT count(*) AS of_the_test"
BUSY = f"{OF_THE_TEST} FROM chats"
APPROVE = (
    "INSERT INTO pairings (user_id, asked, told, approved)"
    f" VALUES ({ADA.user_id}, 0, 0, 0) RETURNING 1"
)
HEARTBEAT = "INSERT INTO replicas"
# An idle replica reads in such transactions, with these statements besides.
READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
OF_TRANSACTIONS = ("COMMIT", "SET LOCAL statement_timeout%", "SET LOCAL idle%")
# Of all chats that are held, every two seconds.
RENEWAL = "WITH held AS (%SKIP LOCKED), renewed AS"
LIMITS = {
    f"CROCBOT_LIMIT_{of}_{unit}": "1000000"
    for of in ("PERSON", "ALL")
    for unit in ("MINUTE", "DAY", "DAY_TOKENS")
}
HTTP = {"CROCBOT_AGENT": "http", "CROCBOT_AGENT_URL": "http://{place}/answer"}
OPENAI = {
    "CROCBOT_AGENT": "openai",
    "OPENAI_BASE_URL": "http://{place}/v1",
    "CROCBOT_MODEL": "m",
    "CROCBOT_PRICES": "{prices}",
}
PAIRING = {"CROCBOT_ACCESS": "pairing"}
RICH = {"CROCBOT_RICH": "on"}
# By the words of the page.
CASES: Mapping[str, Mapping[str, str]] = {
    "`echo`": {},
    "`http`": HTTP,
    "`openai`, with prices": OPENAI | PAIRING,
    "`openai`, with prices and all limits": OPENAI | PAIRING | LIMITS | RICH,
}


def on_the_page() -> dict[str, int]:
    """Return the statements of each case that the page has."""
    found = re.findall(r"^\| (`.*?) \| (\d+) \|", PAGE.read_text(), re.MULTILINE)
    return {case: int(count) for case, count in found}


@pytest.fixture(scope="module")
def counting() -> Iterator[Cluster]:
    """Start PostgreSQL with the extension that counts statements."""
    if find_programs() is None:
        pytest.skip(MISSING)
    with Cluster(settings=SETTINGS) as cluster:
        cluster.execute("CREATE EXTENSION pg_stat_statements")
        yield cluster


class Database:
    """A database whose statements are counted."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.url = cluster.create_database()
        self.name = self.url.rpartition("/")[2]

    def counts(self, condition: str = "true") -> Counter[str]:
        """Return how often each statement ran so far."""
        rows = self.cluster.execute(
            "SELECT query, sum(calls)::bigint FROM pg_stat_statements"
            " JOIN pg_database ON pg_database.oid = dbid"
            f" WHERE datname = '{self.name}' AND query NOT LIKE '{OF_THE_TEST}%'"
            f" AND query NOT LIKE '%{RENEWAL}%' AND {condition} GROUP BY query"
        )
        return Counter({query: int(calls) for query, calls in rows})

    def transactions(self) -> int:
        """Return how often the statements around those of a write have run."""
        likes = " OR ".join(f"query LIKE '{each}'" for each in OF_TRANSACTIONS)
        around = self.counts(f"({likes})")
        reads = self.counts(f"query = '{READING}'").total()
        return sum(calls - reads for calls in around.values())

    def heartbeats(self) -> int:
        """Return how many heartbeats there were."""
        return self.counts(f"query LIKE '%{HEARTBEAT}%'").total()

    def is_idle(self) -> bool:
        """Return whether all chats are given back."""
        return self.cluster.execute(BUSY, self.name) == [(0,)]


def has_replies(world: World, count: int) -> bool:
    """Return whether ADA has that many replies."""
    return len(world.replies.to(ADA)) == count


@pytest.mark.parametrize("case", CASES)
async def test_statements_of_a_lone_message(
    world: World, counting: Cluster, case: str
) -> None:
    """As many as the page has, at most 6, without those of an idle replica."""
    database = Database(counting)
    prices = world.home / "prices.toml"
    prices.write_text("[m]\ninput = 1\noutput = 2\n")

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="Yes.")

    routes = {"POST /answer": answer, "POST /v1/chat/completions": complete}
    async with serving(routes) as place:
        settings = {
            name: value.format(place=place, prices=prices)
            for name, value in CASES[case].items()
        }
        replica = Replica(world, database.url, "only", **settings)
        await replica.start()
        await world.eventually(replica.leads)
        database.cluster.execute(APPROVE, database.name)
        beats, before = database.heartbeats(), database.counts()
        # Until all that repeats has run.
        await world.eventually(lambda: database.heartbeats() > beats + 1)
        idle = database.counts() - before
        costs = []
        for number in range(1, MESSAGES + 1):
            before, around = database.counts(), database.transactions()
            world.server.send(ADA, f"message {number}")
            await world.eventually(partial(has_replies, world, number))
            await world.eventually(database.is_idle)
            found = database.counts() - before
            cost = Counter({each: found[each] for each in found if each not in idle})
            cost["around"] = max(database.transactions() - around, 0)
            costs.append(cost)
        assert await replica.stop() == 0
    # Some of them may have met what is done each minute.
    statements = min(each.total() for each in costs)

    assert statements == on_the_page()[case], costs
    assert statements <= MAX_STATEMENTS
