"""Every accepted message is counted once, at its end, whatever that is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from crocbot.sandbox import Person, faults
from tests.end_to_end.programs import Run
from tests.end_to_end.test_people import with_agent
from tests.end_to_end.world import World

ADA, BOB, EVE = Person(7, "Ada"), Person(8, "Bob"), Person(9, "Eve")
MESSAGES = "crocbot_messages_total"
CLOSED_ROWS = "crocbot_inbox_closed_rows"
OPEN_ROWS = "crocbot_inbox_open_rows"
IN_FLIGHT = "crocbot_turns_in_flight"
BLOCKED = faults.api_error(403, "Forbidden: bot was blocked by the user")
REFUSED = faults.api_error(400, "Bad Request: no")


async def counted(world: World, name: str, expected: Mapping[str, float]) -> None:
    """Wait until a counter has these values; all others must be 0."""

    async def has_them() -> bool:
        values = await world.values(name)
        return {key: value for key, value in values.items() if value} == expected

    await world.eventually(has_them)


async def test_messages_that_are_not_answered(world: World) -> None:
    """A stopped answer is a message, as are those that wait in a chat that is gone."""
    await world.start_bridge()
    async with with_agent(world) as service:
        gateway = await service.start()
        service.busy.clear()
        world.server.send(ADA, "slow")
        await in_flight(world)
        world.server.send(ADA, "/stop")
        await counted(world, MESSAGES, {"text": 1, "command": 1})
        # Until then the answer to the command may be sent, and be what is refused.
        await counted(world, CLOSED_ROWS, {"answered": 1, "cancelled": 1})
        await counted(world, IN_FLIGHT, {})

        for text in ("slow", *"abc"):
            world.server.send(BOB, text)
        await counted(world, OPEN_ROWS, {"": 4})
        world.server.fault("sendMessage", BLOCKED)
        service.busy.set()
        await counted(world, MESSAGES, {"text": 5, "command": 1})
        rows = {"answered": 1, "cancelled": 1, "failed": 4}
        await counted(world, CLOSED_ROWS, rows)
        assert service.asked == ["slow", "slow"]
        assert await gateway.stop() == 0


async def in_flight(world: World) -> None:
    """Wait until a turn runs."""

    async def is_in_flight() -> bool:
        return bool((await world.values(IN_FLIGHT)).get(""))

    await world.eventually(is_in_flight)


async def test_a_retried_message(world: World, run: Run) -> None:
    """It was counted when it failed; its answer is counted apart, with no latency."""
    await world.start_bridge()
    gateway = await world.start_gateway()
    world.server.fault("sendMessage", REFUSED)
    world.server.send(EVE, "hello")
    await counted(world, MESSAGES, {"text": 1})

    retry = run("crocbot", "inbox", "retry", **world.settings())
    assert (await asyncio.to_thread(retry.end))[0] == 0
    await world.eventually(lambda: world.replies.to(EVE) == ["hello"])
    await counted(world, "crocbot_retried_answers_total", {"answered": 1})
    await counted(world, MESSAGES, {"text": 1})
    await counted(world, "crocbot_telegram_latency_seconds_count", {})
    await counted(world, "crocbot_telegram_first_text_seconds_count", {})
    await counted(world, "crocbot_queue_wait_seconds_count", {"": 1})
    assert await gateway.stop() == 0
