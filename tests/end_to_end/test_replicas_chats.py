"""What reaches the replica that works a chat, whichever of them receives it."""

from __future__ import annotations

import sys

import aiohttp
import pytest

from crocbot.sandbox import Person
from tests.end_to_end.test_leader import Pair
from tests.end_to_end.world import World
from tests.ports import HOST

ADA, BOB = Person(7, "Ada"), Person(8, "Bob")
SECRET = "a-long-secret-of-the-test"
# Answers with the text, but waits while a file is there.
AGENT = """
import os, sys, time
text = sys.stdin.read()
print("begun: " + text, flush=True)
while "slow" in text and os.path.exists({gate!r}):
    time.sleep(0.05)
print("done", flush=True)
"""


@pytest.fixture
async def pair(world: World, database_url: str) -> Pair:
    """Return two replicas, of which the leader has one turn at a time."""
    gate, program = world.home / "gate", world.home / "agent.py"
    gate.touch()
    program.write_text(AGENT.format(gate=str(gate)))
    both = Pair(
        world,
        database_url,
        CROCBOT_AGENT="command",
        CROCBOT_AGENT_COMMAND=f"{sys.executable} {program}",
        CROCBOT_SEND_SECRET=SECRET,
        CROCBOT_MAX_TURNS="1",
    )
    await both.start()
    return both


async def begun(pair: Pair, person: Person, text: str) -> None:
    """Wait until the answer to a text is shown to have begun."""
    await pair.world.eventually(
        lambda: any(
            shown.startswith(f"begun: {text}")
            for shown in [
                *pair.world.replies.to(person),
                pair.world.server.draft(person) or "",
            ]
        )
    )


async def test_a_turn_of_the_other_replica_is_stopped(pair: Pair) -> None:
    """
    The leader polls /stop and an edit; the replica with the chat's lease acts.

    It does so however many messages wait before the /stop.
    """
    server, replies = pair.world.server, pair.world.replies
    server.send(ADA, "slow a")
    await begun(pair, ADA, "slow a")
    server.send(BOB, "slow b")
    await begun(pair, BOB, "slow b")
    sent = server.send(BOB, "first words")
    server.edit(sent, "other words")
    # More than may wait here while the only turn is busy.
    for number in range(8):
        server.send(BOB, f"later {number}")
    server.send(BOB, "/stop")
    await pair.world.eventually(lambda: "Stopped." in replies.to(BOB))
    await begun(pair, BOB, "other words")
    (pair.world.home / "gate").unlink()
    await pair.world.eventually(lambda: "done" in "".join(replies.to(ADA)))
    assert not any("first words" in each for each in replies.to(BOB))


async def test_pushed_messages_are_sent_once_and_in_order(pair: Pair) -> None:
    """By the replica that has the chat's lease, whichever of them stored them."""
    pair.world.server.send(BOB, "hello")
    await pair.world.eventually(lambda: pair.world.replies.to(BOB))
    texts = [f"pushed {number}" for number in range(10)]
    headers = {"Authorization": f"Bearer {SECRET}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        for number, text in enumerate(texts):
            port = (pair.first, pair.second)[number % 2].port
            body = {"chat": BOB.user_id, "text": text}
            async with session.post(f"http://{HOST}:{port}/send", json=body) as answer:
                assert answer.status == 202
    await pair.world.eventually(lambda: texts[-1] in pair.world.replies.to(BOB))
    sent = [each for each in pair.world.replies.to(BOB) if each.startswith("pushed")]
    assert sent == texts
