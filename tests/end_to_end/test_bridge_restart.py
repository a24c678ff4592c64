"""Losing the bridge neither delays nor breaks a reply, and its counters come back."""

from __future__ import annotations

import asyncio
from typing import Any

from crocbot.sandbox.metrics_page import ERRORS, LATENCY, MESSAGES, RECONNECTS, UPTIME

# A histogram cannot be declared: it comes with the first observation.
DECLARED = (UPTIME, MESSAGES, ERRORS, RECONNECTS)
ALL = (*DECLARED, f"{LATENCY}_count")


Known = dict[str, set[str]]


async def labels(world: Any, names: tuple[str, ...]) -> dict[str, set[str]]:
    """Which label values each of these metrics has on the page."""
    return {name: set(await world.values(name)) for name in names}


async def complete(world: Any, names: tuple[str, ...]) -> bool:
    """Whether each of these metrics is on the page."""
    return all((await labels(world, names)).values())


async def more_answers(world: Any, count: int) -> None:
    """Wait until so many more messages were answered."""
    goal = world.users.answered.total() + count
    await world.eventually(lambda: world.users.answered.total() >= goal)


def test_a_bridge_that_was_killed_comes_back(world) -> None:
    """People are answered all the while, and a new bridge soon has every series."""

    async def scene() -> None:
        async with world() as w:
            bridge = await w.start_bridge()
            gateway = await w.start_gateway()
            stop = asyncio.Event()
            talking = asyncio.create_task(w.talk(stop))
            await more_answers(w, 10)
            await w.eventually(lambda: complete(w, ALL))
            before = await labels(w, DECLARED)

            bridge.process.kill()
            await bridge.process.wait()
            await more_answers(w, 10)
            await w.start_bridge()
            await w.eventually(lambda: complete(w, ALL))
            assert await labels(w, DECLARED) == before
            await more_answers(w, 5)
            stop.set()
            await talking

            assert w.users.mistakes == []
            assert w.users.answered == w.users.sent
            assert await gateway.stop() == 0
            counted = sum((await w.values(MESSAGES)).values())
            assert 0 < counted < w.users.sent.total()

    asyncio.run(scene())


def test_a_bridge_may_come_late(world) -> None:
    """A gateway without a bridge answers, and is seen as soon as there is one."""

    async def scene() -> None:
        async with world() as w:
            gateway = await w.start_gateway()
            await w.exchange("is anybody counting?")
            await w.start_bridge()
            await w.eventually(lambda: complete(w, DECLARED))
            await w.exchange("and now?")
            await w.eventually(lambda: complete(w, ALL))

            assert await gateway.stop() == 0
            assert w.users.mistakes == []
            assert set(await w.values(f"{LATENCY}_count")) == {"text"}

    asyncio.run(scene())
