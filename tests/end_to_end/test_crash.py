"""
The gateway is killed several times while it works, or hangs: nothing is lost.

    2,000 updates in 40 chats --> gateway --> answers      kill -9, start, kill -9, ...

Every update must be answered, those of a chat in order.  An answer whose row was not
closed before the kill is sent again: at most one for each turn in flight.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import defaultdict
from typing import Any

import pytest

from crocbot.sandbox import Person
from crocbot.sandbox.children import Child
from crocbot.sandbox.faults import Slow
from tests.end_to_end.world import World

CHATS = 40
EACH = 50
KILLS = 5
MAX_TURNS = 64
ACCEPTED = "crocbot_inbox_accepted_rows"
CLOSED = "crocbot_inbox_closed_rows"
OPEN = "crocbot_inbox_open_rows"
ADA = Person(1001, "Ada")


class AnswerLog:
    """The answers by chat, in the order of their arrival."""

    def __init__(self, world: World) -> None:
        self.by_chat: dict[int, list[int]] = defaultdict(list)
        self.count = 0
        self._world = world
        world.server.listen(self._on_sent)

    def _on_sent(self, sent: Any) -> None:
        self.by_chat[sent["chat"]["id"]].append(int(sent["text"]))
        self.count += 1

    def write_all(self) -> None:
        """Write all messages of all chats at once."""
        for number in range(EACH):
            for chat in range(1, CHATS + 1):
                self._world.server.send(Person(chat, f"Person {chat}"), str(number))

    async def wait_for(self, count: int) -> None:
        """Wait until there are that many answers."""
        await self._world.eventually(lambda: self.count >= count)

    @property
    def missing(self) -> int:
        """The number of messages without an answer."""
        return CHATS * EACH - sum(
            len(set(numbers)) for numbers in self.by_chat.values()
        )

    @property
    def duplicates(self) -> int:
        """The number of answers beyond the first of a message."""
        return self.count - sum(len(set(numbers)) for numbers in self.by_chat.values())

    @property
    def disorder(self) -> list[int]:
        """Chats whose first answers are not in the order of the messages."""
        return [
            chat
            for chat, numbers in self.by_chat.items()
            if list(dict.fromkeys(numbers)) != sorted(set(numbers))
        ]


async def test_nothing_is_lost(world: World) -> None:
    """A gateway that is killed repeatedly answers everything, and in order.

    The times are random; a failure reports the seed.  The ledger closes.
    """
    seed = random.randrange(10**9)
    chance = random.Random(seed)

    await world.start_bridge()
    answers = AnswerLog(world)
    # Telegram is slow, so that some turns are always in flight.
    world.server.fault("sendMessage", Slow(0.02), times=10 * CHATS * EACH)
    answers.write_all()
    gateway = await world.start_gateway()
    for _ in range(KILLS):
        more = chance.randrange(1, CHATS * EACH // KILLS - 60)
        await answers.wait_for(answers.count + more)
        await asyncio.sleep(chance.uniform(0, 0.03))
        gateway.process.send_signal(signal.SIGKILL)
        await gateway.process.wait()
        gateway = await world.start_gateway()
    await world.eventually(lambda: not answers.missing)
    await wait_until_ledger_closes(world)
    assert await gateway.stop() == 0

    assert answers.missing == 0, seed
    assert answers.disorder == [], seed
    assert answers.duplicates <= KILLS * MAX_TURNS, seed


async def wait_until_ledger_closes(world: World) -> None:
    """Wait until the bridge's page has all rows as accepted and as closed."""

    async def closes() -> bool:
        accepted = await world.values(ACCEPTED)
        closed = await world.values(CLOSED)
        still_open = await world.values(OPEN)
        if not accepted or still_open.get("") != 0:
            return False
        return accepted[""] == sum(closed.values()) == CHATS * EACH

    await world.eventually(closes)


@pytest.mark.parametrize("hang", ["waits", "swallows", "thread", "blocks"])
async def test_a_hung_agent_does_not_delay_a_stop(world: World, hang: str) -> None:
    """The exit code is 0 however an agent hangs, and its message is not lost."""
    hung = await start_hung(world, hang, CROCBOT_DRAIN_SECONDS="0.5")
    world.server.send(ADA, "behind it")
    hung.process.send_signal(signal.SIGTERM)
    # Not Child.stop(), which kills after a while.
    assert await asyncio.wait_for(hung.process.wait(), 60) == 0

    gateway = await world.start_gateway()
    await world.eventually(lambda: world.replies.to(ADA) == ["hang", "behind it"])
    assert await gateway.stop() == 0


async def test_a_second_signal_ends_it_at_once(world: World) -> None:
    """It does not wait for its turns, which the next start answers."""
    hung = await start_hung(world, "waits", CROCBOT_DRAIN_SECONDS="3600")
    hung.process.send_signal(signal.SIGTERM)
    await world.eventually(lambda: "finishing turns" in hung.output.read_text())
    hung.process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(hung.process.wait(), 60) == 0
    assert "left open for the next start" in hung.output.read_text()

    await world.start_gateway()
    await world.eventually(lambda: world.replies.to(ADA) == ["hang"])


async def start_hung(world: World, hang: str, **settings: str) -> Child:
    """Start a gateway and let its agent hang on a message."""
    hung = await world.start_gateway("tests.end_to_end.hung_gateway", hang, **settings)
    world.server.send(ADA, "hang")
    await world.eventually(lambda: "hanging" in hung.output.read_text())
    return hung
