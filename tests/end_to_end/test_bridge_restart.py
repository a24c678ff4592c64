"""Losing the bridge neither delays nor breaks a reply, and its counters come back."""

from __future__ import annotations

import asyncio

from crocbot.sandbox.metrics_page import ERRORS, LATENCY, MESSAGES, RECONNECTS, UPTIME
from tests.end_to_end.world import World

# A histogram cannot be declared: the first observation creates it.
DECLARED = (UPTIME, MESSAGES, ERRORS, RECONNECTS)
ALL = (*DECLARED, f"{LATENCY}_count")


async def labels(world: World, names: tuple[str, ...]) -> dict[str, set[str]]:
    """Return the label values that each metric has on the page."""
    return {name: set(await world.values(name)) for name in names}


async def complete(world: World, names: tuple[str, ...]) -> bool:
    """Return whether each metric is on the page."""
    return all((await labels(world, names)).values())


async def more_answers(world: World, count: int) -> None:
    """Wait until `count` more messages are answered."""
    goal = world.users.answered.total() + count
    await world.eventually(lambda: world.users.answered.total() >= goal)


async def test_a_bridge_that_was_killed_comes_back(world: World) -> None:
    """Users are answered meanwhile, and the new bridge gets every series."""
    bridge = await world.start_bridge()
    gateway = await world.start_gateway()
    stop = asyncio.Event()
    talking = asyncio.create_task(world.talk(stop))
    await more_answers(world, 10)
    await world.eventually(lambda: complete(world, ALL))
    before = await labels(world, DECLARED)

    bridge.process.kill()
    await bridge.process.wait()
    await more_answers(world, 10)
    await world.start_bridge()
    await world.eventually(lambda: complete(world, ALL))

    async def has_all() -> bool:
        return await labels(world, DECLARED) == before

    await world.eventually(has_all)
    await more_answers(world, 5)
    stop.set()
    await talking

    assert world.users.mistakes == []
    assert world.users.answered == world.users.sent
    assert await gateway.stop() == 0
    counted = sum((await world.values(MESSAGES)).values())
    assert 0 < counted < world.users.sent.total()


async def test_a_bridge_that_starts_late(world: World) -> None:
    """A gateway without a bridge answers, and its metrics appear once there is one."""
    gateway = await world.start_gateway()
    await world.exchange("hello")
    await world.start_bridge()
    await world.eventually(lambda: complete(world, DECLARED))
    await world.exchange("and now?")
    await world.eventually(lambda: complete(world, ALL))

    assert await gateway.stop() == 0
    assert world.users.mistakes == []
    assert set(await world.values(f"{LATENCY}_count")) == {"text"}
