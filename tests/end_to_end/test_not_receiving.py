"""Whatever keeps the gateway from receiving messages changes a metric."""

from __future__ import annotations

from crocbot.sandbox import Person, faults
from crocbot.sandbox.faults import Drop
from crocbot.sandbox.metrics_page import RECONNECTS
from tests.end_to_end.test_people import with_agent
from tests.end_to_end.world import World
from tests.ports import HOST, free_port

ADA = Person(1001, "Ada")
POLL_AGE = "crocbot_telegram_poll_age_seconds"
OLDEST = "crocbot_inbox_oldest_open_seconds"
FLOOD_WAITS = "crocbot_telegram_flood_waits_total"
FLOOD_SECONDS = "crocbot_telegram_flood_wait_seconds_total"
CALLS = "crocbot_telegram_api_seconds_count"
INFINITY = float("inf")


async def value(world: World, name: str, *labels: str) -> float | None:
    """Return a number of the bridge's page; None if it is not there."""
    for key, number in (await world.values(name)).items():
        if sorted(key.split()) == sorted(labels):
            return number
    return None


async def wait_for(
    world: World, name: str, *labels: str, least: float = 0, below: float = INFINITY
) -> None:
    """Wait until a number of the page is in a range."""

    async def is_in_range() -> bool:
        number = await value(world, name, *labels)
        return number is not None and least <= number < below

    await world.eventually(is_in_range)


async def test_polls_that_fail(world: World) -> None:
    """The age of the last completed poll grows while polls fail, then falls."""
    await world.start_bridge()
    gateway = await world.start_gateway()
    await wait_for(world, POLL_AGE, below=5)
    # The pauses between five tries make eight seconds and more.
    world.server.fault("getUpdates", Drop(), times=5)
    await wait_for(world, POLL_AGE, least=5)
    await wait_for(world, RECONNECTS, "network", least=1)
    await wait_for(world, CALLS, "getUpdates", "network", least=1)
    # A message ends the next long poll.
    await world.exchange("hello")
    await wait_for(world, POLL_AGE, below=5)

    assert await gateway.stop() == 0


async def test_telegram_cannot_be_reached_at_the_start(world: World) -> None:
    """The age grows although no poll has begun."""
    await world.start_bridge()
    nobody = f"http://{HOST}:{free_port()}"
    settings = {**world.settings(), "CROCBOT_TELEGRAM_API_URL": nobody}
    gateway = await world.start("crocbot", "gateway", **settings)
    await wait_for(world, POLL_AGE, least=3)

    assert await gateway.stop() == 0


async def test_a_flood_wait_and_a_conflict(world: World) -> None:
    """The seconds that Telegram asks to wait and another poller are counted."""
    await world.start_bridge()
    gateway = await world.start_gateway()
    world.server.fault("getUpdates", faults.flood_wait(2))
    await wait_for(world, FLOOD_WAITS, least=1)
    await wait_for(world, CALLS, "getUpdates", "flood_wait", least=1)
    world.server.fault("getUpdates", faults.other_poller())
    await wait_for(world, RECONNECTS, "conflict", least=1)
    await wait_for(world, CALLS, "getUpdates", "conflict", least=1)
    await world.exchange("hello")
    await wait_for(world, FLOOD_SECONDS, least=2, below=3)

    assert await gateway.stop() == 0


async def test_a_message_that_waits(world: World) -> None:
    """The age of the oldest unanswered message grows until it is answered."""
    await world.start_bridge()
    async with with_agent(world) as service:
        gateway = await service.start()
        await wait_for(world, OLDEST, below=1)
        service.busy.clear()
        world.server.send(ADA, "hello")
        await wait_for(world, OLDEST, least=1)
        service.busy.set()
        await world.eventually(lambda: world.replies.to(ADA) == ["re: hello"])
        await wait_for(world, OLDEST, below=1)

        assert await gateway.stop() == 0
