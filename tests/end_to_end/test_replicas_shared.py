"""What several replicas share, while updates of one chat come to different ones."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from crocbot.sandbox import Chat, Person
from crocbot.sandbox.messages import document, text
from tests.end_to_end.replicas import Replicas
from tests.end_to_end.world import World

ADA = Person(7, "Ada")
OLD, NEW = Chat(-5, "Friends"), Chat(-100500, "Friends", "supergroup")
COUNT = 3
PEOPLE = 64
MESSAGES = 3
SHARE = 2
ALL = 100


@pytest.fixture
async def replicas(world: World, database_url: str) -> AsyncIterator[Replicas]:
    """Three replicas behind a balancer, none of which runs yet."""
    urls = [database_url] * COUNT
    async with Replicas.open(world, urls, webhook=True) as replicas:
        yield replicas


async def start(replicas: Replicas, **settings: str) -> None:
    """Start all with further settings."""
    for each in replicas:
        each.settings.update(settings)
    await replicas.start_all()


async def closed(replicas: Replicas, expected: int) -> Counter[str]:
    """Return the rows by disposition once this number is closed, and none is open."""

    def rows() -> Counter[str] | None:
        ledger = replicas.ledger()
        counts = Counter(
            {
                name.removeprefix("closed."): int(count)
                for name, count in ledger.items()
                if name.startswith("closed.") and count
            }
        )
        done = counts.total() == expected and not ledger.get("open")
        return counts if done else None

    found: Counter[str] = await replicas[0].world.eventually(rows)
    return found


async def test_limits_of_64_people(
    world: World, replicas: Replicas, database_url: str
) -> None:
    """Exactly as many messages are answered as the limits allow, by all together."""
    await start(
        replicas,
        CROCBOT_LIMIT_PERSON_DAY=str(SHARE),
        CROCBOT_LIMIT_ALL_DAY=str(ALL),
    )
    killed = asyncio.create_task(kill_one(replicas))
    for number in range(MESSAGES):
        for person in range(1, PEOPLE + 1):
            world.server.send(Person(person, f"P{person}"), str(number))
    rows = await closed(replicas, PEOPLE * MESSAGES)
    await killed
    assert rows == {"answered": ALL, "denied": PEOPLE * MESSAGES - ALL}
    # The id of a private chat is that of the person.
    with psycopg.connect(database_url) as connection:
        shares = connection.execute(
            "SELECT count(*) FROM rows WHERE disposition = 'answered' GROUP BY chat"
        ).fetchall()
    assert max(shares) == (SHARE,)


async def kill_one(replicas: Replicas) -> None:
    """Kill a replica while it works, and start it again."""
    replica = random.choice(list(replicas))
    await asyncio.sleep(0.3)
    await replica.kill()
    await replica.start()


async def test_parts_of_an_album(world: World, replicas: Replicas) -> None:
    """Each part comes to another replica; they are one message, with one answer."""
    replies: list[Any] = []
    world.server.listen(replies.append)
    # However late the next part of an album comes; another message ends it.
    await start(replicas, CROCBOT_GATHER_SECONDS="60")
    for album in range(5):
        for part in range(COUNT):
            world.server.send(
                ADA, document(caption=f"{album} {part}", album=f"album {album}")
            )
    world.server.send(ADA, "that was all")
    rows = await closed(replicas, 5 * COUNT + 1)
    assert rows == {"answered": 5 * COUNT + 1}
    assert len(replies) == 5 + 1


async def test_a_group_moves(world: World, replicas: Replicas) -> None:
    """Whichever replica gets the first messages of its new id, they are answered."""
    received: list[tuple[int, str]] = []
    world.server.listen(
        lambda sent: received.append((sent["chat"]["id"], sent["text"]))
    )
    await start(replicas, CROCBOT_GROUPS=f"{OLD.chat_id}:always")
    world.server.send(ADA, "before", OLD)
    world.server.send(ADA, {"migrate_to_chat_id": NEW.chat_id}, OLD)
    world.server.send(ADA, {"migrate_from_chat_id": OLD.chat_id}, NEW)
    for number in range(20):
        world.server.send(ADA, text(f"after {number}"), NEW)
        await asyncio.sleep(0.15)
    rows = await closed(replicas, 23)
    assert rows == {"answered": 21, "ignored": 2}
    assert [each for _, each in received][1:] == [f"after {n}" for n in range(20)]
