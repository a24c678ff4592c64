"""
The gateway is killed several times while it works, or hangs: nothing is lost.

    2,000 updates in 40 chats --> gateway --> answers      kill -9, start, kill -9, ...

Every update must be answered, those of a chat in order, also while the clock steps or
with a webhook.  An answer whose row was not closed before the kill is sent again: at
most one for each turn in flight.  A message that ends the gateway is set aside, and no
other one.
"""

from __future__ import annotations

import asyncio
import random
import re
import signal
from collections import defaultdict
from contextlib import suppress
from typing import Any

import pytest

from crocbot.sandbox import Person, faults
from crocbot.sandbox.children import Child, while_alive
from crocbot.sandbox.faults import Slow
from crocbot.turn.messages import CRASH_ERROR
from tests.end_to_end.world import World
from tests.ports import HOST, free_port

CHATS = 40
EACH = 50
KILLS = 5
# A row is set aside if its third try crashes, which begins 10 s after a start or later.
QUICK_SECONDS = 4.0
MAX_TURNS = 64
ACCEPTED = "crocbot_inbox_accepted_rows"
CLOSED = "crocbot_inbox_closed_rows"
OPEN = "crocbot_inbox_open_rows"
LATENCY = "crocbot_telegram_latency_seconds"
ADA = Person(1001, "Ada")
DAY = 86_400.0
STEPS = (-3 * DAY, -3600.0, -60.0, 60.0, 3600.0, 3 * DAY)


class AnswerLog:
    """The answers by chat, in the order of their arrival."""

    def __init__(self, world: World) -> None:
        self.by_chat: dict[int, list[int]] = defaultdict(list)
        self.count = 0
        self.expected = 0
        self._world = world
        world.server.listen(self._on_sent)

    def _on_sent(self, sent: Any) -> None:
        self.by_chat[sent["chat"]["id"]].append(int(sent["text"]))
        self.count += 1

    def write_all(self, each: int) -> None:
        """Write all messages of all chats at once."""
        self.expected = CHATS * each
        for number in range(each):
            for chat in range(1, CHATS + 1):
                self._world.server.send(Person(chat, f"Person {chat}"), str(number))

    async def wait_for(self, count: int) -> None:
        """Wait until there are that many answers, at most QUICK_SECONDS."""
        with suppress(TimeoutError):
            async with asyncio.timeout(QUICK_SECONDS):
                await self._world.eventually(lambda: self.count >= count)

    @property
    def missing(self) -> int:
        """The number of messages without an answer."""
        return self.expected - sum(
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


class Machine:
    """What the gateway runs on: a world, and how it receives updates."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.settings = {**world.settings(), **world.clock.settings}
        self.ready_call = "getupdates"

    def use_webhook(self) -> None:
        """Receive updates by webhook."""
        port = free_port()
        self.settings["CROCBOT_WEBHOOK_URL"] = f"http://{HOST}:{port}"
        self.settings["CROCBOT_WEBHOOK_LISTEN"] = f"{HOST}:{port}"
        # It listens before it registers the webhook.
        self.ready_call = "setwebhook"

    async def start(self, *program: str) -> Child:
        """Start a gateway; return once it receives updates."""
        calls = self.world.server.calls
        before = calls[self.ready_call]
        gateway = await self.world.start(
            *(program or ("crocbot", "gateway")), **self.settings
        )
        ready = self.world.eventually(lambda: calls[self.ready_call] > before)
        await while_alive(ready, gateway)
        return gateway


@pytest.fixture
def machine(world: World) -> Machine:
    """Return the machine of a gateway, and let Telegram be slow."""
    # So that some turns are always in flight.
    world.server.fault("sendMessage", Slow(0.02), times=10 * CHATS * EACH)
    return Machine(world)


async def kill(gateway: Child) -> None:
    """Kill a process."""
    gateway.process.send_signal(signal.SIGKILL)
    await gateway.process.wait()


@pytest.mark.parametrize(
    ("mode", "each"), [("polling", EACH), ("webhook", 20), ("clock steps", 20)]
)
async def test_nothing_is_lost(machine: Machine, mode: str, each: int) -> None:
    """A gateway that is killed repeatedly answers everything, and in order.

    The times are random; a failure reports the seed.  The ledger closes.
    """
    seed = random.randrange(10**9)
    chance = random.Random(seed)
    world = machine.world
    steps = STEPS if mode == "clock steps" else [0.0]
    if mode == "webhook":
        machine.use_webhook()

    await world.start_bridge()
    answers = AnswerLog(world)
    answers.write_all(each)
    gateway = await machine.start()
    for _ in range(KILLS):
        world.clock.step(chance.choice(steps))
        more = chance.randrange(1, CHATS * each // KILLS - 60)
        await answers.wait_for(answers.count + more)
        await asyncio.sleep(chance.uniform(0, 0.03))
        await kill(gateway)
        world.clock.step(chance.choice(steps))
        gateway = await machine.start()
    world.clock.step(chance.choice(steps))
    await world.eventually(lambda: not answers.missing)
    await wait_until_ledger_closes(world, CHATS * each)
    latencies = await world.values(f"{LATENCY}_bucket")
    assert await gateway.stop() == 0

    assert answers.missing == 0, seed
    assert answers.disorder == [], seed
    assert answers.duplicates <= KILLS * MAX_TURNS, seed
    # No answer seems to have taken more than ten minutes.
    assert latencies["text +Inf"] == latencies["text 600"] > 0, seed


async def wait_until_ledger_closes(world: World, expected: int) -> None:
    """Wait until the bridge's page has all rows as accepted and as answered."""

    async def closes() -> bool:
        accepted = await world.values(ACCEPTED)
        closed = await world.values(CLOSED)
        still_open = await world.values(OPEN)
        if not accepted or still_open.get("") != 0:
            return False
        return accepted[""] == sum(closed.values()) == closed["answered"] == expected

    await world.eventually(closes)


async def test_kills_set_nothing_aside(machine: Machine) -> None:
    """Ten kills while slow agents work: no row is blamed for them."""
    seed = random.randrange(10**9)
    chance = random.Random(seed)
    world, each = machine.world, 8
    slow = ("tests.end_to_end.fatal_gateway", "slow")

    await world.start_bridge()
    answers = AnswerLog(world)
    answers.write_all(each)
    gateway = await machine.start(*slow)
    for _ in range(10):
        await answers.wait_for(answers.count + chance.randrange(1, 25))
        await asyncio.sleep(chance.uniform(0, 0.05))
        await kill(gateway)
        gateway = await machine.start(*slow)
    await world.eventually(lambda: not answers.missing)
    await wait_until_ledger_closes(world, CHATS * each)
    assert "set aside" not in gateway.output.read_text(), seed
    assert answers.disorder == [], seed
    assert await gateway.stop() == 0


async def test_quick_kills_with_few_chats(machine: Machine) -> None:
    """Ten kills, each during the same three slow turns: no row is blamed for them."""
    world, people = machine.world, [Person(number, "Ada") for number in (1, 2, 3)]
    slow = ("tests.end_to_end.fatal_gateway", "kill")
    for person in people:
        world.server.send(person, "slow")
    gateway = await machine.start(*slow)
    for _ in range(10):
        await asyncio.sleep(0.7)
        await kill(gateway)
        gateway = await machine.start(*slow)
    await world.eventually(lambda: all(map(world.replies.to, people)))
    assert "set aside" not in gateway.output.read_text()


@pytest.mark.parametrize("end", ["kill", "abort", "exit", "raise"])
async def test_a_message_that_ends_the_gateway(machine: Machine, end: str) -> None:
    """After its third try it is set aside and its sender told; others are answered."""
    world = machine.world
    bob, eve = Person(1002, "Bob"), Person(1003, "Eve")
    fatal = ("tests.end_to_end.fatal_gateway", end)
    await world.start_bridge()
    for person, text in ((bob, "slow"), (ADA, "first"), (ADA, "fatal"), (ADA, "last")):
        world.server.send(person, text)
    runs = 0
    while True:
        gateway = await world.start(*fatal, **world.settings())
        done = world.eventually(lambda: CRASH_ERROR in world.replies.to(ADA))
        if await ends_first(gateway, done):
            runs += 1
            assert runs <= 3
            world.server.send(eve, f"{runs}")
        else:
            break
    assert runs == 3

    await world.eventually(lambda: world.replies.to(ADA)[-1] == "last")
    await world.eventually(lambda: world.replies.to(eve) == ["1", "2", "3"])
    assert world.replies.to(ADA) == ["first", CRASH_ERROR, "last"]
    assert world.replies.to(bob) == ["slow"]
    assert await gateway.stop() == 0


async def ends_first(gateway: Child, work: Any) -> bool:
    """Return whether a process ends before a condition comes true."""
    ended = asyncio.ensure_future(gateway.process.wait())
    working = asyncio.ensure_future(work)
    done, _ = await asyncio.wait([ended, working], return_when=asyncio.FIRST_COMPLETED)
    for each in (ended, working):
        each.cancel()
    await asyncio.gather(ended, working, return_exceptions=True)
    return working not in done


@pytest.mark.parametrize("hang", ["waits", "swallows", "thread", "blocks"])
async def test_a_hung_agent_does_not_delay_a_stop(world: World, hang: str) -> None:
    """The exit code is 0 however an agent hangs; its message is not lost or blamed."""
    hung = await start_hung(world, hang, CROCBOT_DRAIN_SECONDS="0.5")
    world.server.send(ADA, "behind it")
    hung.process.send_signal(signal.SIGTERM)
    # Not Child.stop(), which kills after a while.
    assert await asyncio.wait_for(hung.process.wait(), 60) == 0

    gateway = await world.start_gateway()
    await world.eventually(lambda: world.replies.to(ADA) == ["hang", "behind it"])
    assert re.search(r"resuming open rows +alone=0 rows=\d", gateway.output.read_text())
    assert await gateway.stop() == 0


async def test_a_refused_token_blames_no_row(world: World) -> None:
    """An end for the operator's sake is orderly, too."""
    hung = await start_hung(world, "waits")
    world.server.fault("getUpdates", faults.unauthorized())
    assert await asyncio.wait_for(hung.process.wait(), 60) == 2

    gateway = await world.start_gateway()
    await world.eventually(lambda: world.replies.to(ADA) == ["hang"])
    assert "alone=0" in gateway.output.read_text()


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
