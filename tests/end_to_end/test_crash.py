"""
The gateway is killed in the middle of its work, several times: nothing is lost.

    2,000 updates in 40 chats --> gateway --> answers      kill -9, start, kill -9, ...

Every update must be answered, those of a chat in their order.  An answer that was out
when its row could not be closed any more is given twice: at most one for each turn that
was in flight at a kill.
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

CHATS = 40
EACH = 50
KILLS = 5
MAX_TURNS = 64
ACCEPTED = "crocbot_inbox_accepted_rows"
CLOSED = "crocbot_inbox_closed_rows"
OPEN = "crocbot_inbox_open_rows"


class Record:
    """Who was told what, in the order of the telling."""

    def __init__(self, world: Any) -> None:
        self.told: dict[int, list[int]] = defaultdict(list)
        self.answers = 0
        self._server = world.server
        world.server.listen(self._on_sent)

    def _on_sent(self, sent: Any) -> None:
        self.told[sent["chat"]["id"]].append(int(sent["text"]))
        self.answers += 1

    def say_all(self) -> None:
        """Let everybody write all that he has to say, all at the same time."""
        for number in range(EACH):
            for chat in range(1, CHATS + 1):
                self._server.send(Person(chat, f"Person {chat}"), str(number))

    @property
    def missing(self) -> int:
        """Updates without an answer."""
        return CHATS * EACH - sum(len(set(told)) for told in self.told.values())

    @property
    def duplicates(self) -> int:
        """Answers that were given before."""
        return self.answers - sum(len(set(told)) for told in self.told.values())

    @property
    def disorder(self) -> list[int]:
        """Chats whose first answers came in another order than the questions."""
        return [
            chat
            for chat, told in self.told.items()
            if list(dict.fromkeys(told)) != sorted(set(told))
        ]


def test_nothing_is_lost(world) -> None:
    """Killed again and again, it answers everything, and in order; the ledger closes.

    The moments are random; the seed is in the report of a failure.
    """
    seed = random.randrange(10**9)
    chance = random.Random(seed)

    async def scene() -> None:
        async with world() as w:
            await w.start_bridge()
            record = Record(w)
            # Telegram takes its time, so that there is always something in flight.
            w.server.fault("sendMessage", Slow(0.02), times=10 * CHATS * EACH)
            record.say_all()
            gateway = await w.start_gateway()
            for _ in range(KILLS):
                until = record.answers + chance.randrange(1, CHATS * EACH // KILLS - 60)
                await w.eventually(lambda until=until: record.answers >= until)
                await asyncio.sleep(chance.uniform(0, 0.03))
                gateway.process.send_signal(signal.SIGKILL)
                await gateway.process.wait()
                gateway = await w.start_gateway()
            await w.eventually(lambda: not record.missing)
            await ledger_closes(w)
            assert await gateway.stop() == 0

            assert record.missing == 0, seed
            assert record.disorder == [], seed
            assert record.duplicates <= KILLS * MAX_TURNS, seed

    asyncio.run(scene())


async def ledger_closes(w: Any) -> None:
    """Wait until accepted = the sum of closed + open, on the bridge's page."""

    async def closes() -> bool:
        accepted = await w.values(ACCEPTED)
        closed = await w.values(CLOSED)
        still_open = await w.values(OPEN)
        if not accepted or still_open.get("") != 0:
            return False
        return accepted[""] == sum(closed.values()) == CHATS * EACH

    await w.eventually(closes)


@pytest.mark.parametrize("way", ["waits", "swallows", "thread", "blocks"])
def test_a_hung_agent_does_not_keep_it(world, way: str) -> None:
    """Asked to stop it ends with 0 however an agent hangs, and loses nothing."""

    async def scene() -> None:
        async with world() as w:
            told = w.users.members[0], w.users.members[1]
            hanging = await start_hung(w, way, CROCBOT_DRAIN_SECONDS="0.5")
            w.server.send(told[0].person, "hang")
            w.server.send(told[0].person, "behind it")
            await w.eventually(lambda: "hanging" in hanging.output.read_text())
            hanging.process.send_signal(signal.SIGTERM)
            # Not Child.stop(), which would insist after a while.
            assert await asyncio.wait_for(hanging.process.wait(), 60) == 0

            heard: list[str] = []
            w.server.listen(lambda sent: heard.append(sent["text"]))
            gateway = await w.start_gateway()
            await w.eventually(lambda: len(heard) == 2)
            assert await gateway.stop() == 0
            assert heard == ["hang", "behind it"]

    asyncio.run(scene())


def test_a_second_signal_hurries(world) -> None:
    """Asked twice it does not wait for its turns, and leaves them to the next start."""

    async def scene() -> None:
        async with world() as w:
            hanging = await start_hung(w, "waits", CROCBOT_DRAIN_SECONDS="3600")
            w.server.send(w.users.members[0].person, "hang")
            await w.eventually(lambda: "hanging" in hanging.output.read_text())
            hanging.process.send_signal(signal.SIGTERM)
            await w.eventually(lambda: "finishing turns" in hanging.output.read_text())
            hanging.process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(hanging.process.wait(), 60) == 0
            assert "left open for the next start" in hanging.output.read_text()

            heard: list[str] = []
            w.server.listen(lambda sent: heard.append(sent["text"]))
            await w.start_gateway()
            await w.eventually(lambda: heard == ["hang"])

    asyncio.run(scene())


async def start_hung(w: Any, way: str, **settings: str) -> Child:
    """Start a gateway whose agent hangs in this way when it hears `hang`."""
    polls = w.server.calls["getupdates"]
    hanging: Child = await w.start(
        ["tests.end_to_end.hung_gateway", way], {**w.settings(), **settings}
    )
    await w.eventually(lambda: w.server.calls["getupdates"] > polls)
    return hanging
