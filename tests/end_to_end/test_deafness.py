"""Never alive but deaf: whatever keeps the gateway from hearing moves a number."""

from __future__ import annotations

import asyncio
from typing import Any

from crocbot.sandbox import faults, users
from crocbot.sandbox.faults import Drop, Slow
from crocbot.sandbox.metrics_page import ERRORS, RECONNECTS

POLL_AGE = "crocbot_telegram_poll_age_seconds"
OLDEST = "crocbot_inbox_oldest_open_seconds"
FLOOD_WAITS = "crocbot_telegram_flood_waits_total"
FLOOD_SECONDS = "crocbot_telegram_flood_wait_seconds_total"
CALLS = "crocbot_telegram_api_seconds_count"


async def value(w: Any, name: str, *labels: str) -> float | None:
    """One number of the page; None if it is not there."""
    for key, number in (await w.values(name)).items():
        if sorted(key.split()) == sorted(labels):
            return float(number)
    return None


async def reaches(w: Any, least: float, name: str, *labels: str) -> None:
    """Wait until a number is at least so large."""

    async def is_there() -> bool:
        found = await value(w, name, *labels)
        return found is not None and found >= least

    await w.eventually(is_there)


async def falls(w: Any, below: float, name: str) -> None:
    """Wait until a number is below another."""

    async def is_there() -> bool:
        found = await value(w, name)
        return found is not None and found < below

    await w.eventually(is_there)


def test_polls_that_fail_grow_old(world) -> None:
    """The age of the last good poll grows while polls fail, and then falls again."""

    async def scene() -> None:
        async with world() as w:
            await w.start_bridge()
            gateway = await w.start_gateway()
            await falls(w, 5, POLL_AGE)
            # The pauses between five tries make eight seconds and more.
            w.server.fault("getUpdates", Drop(), times=5)
            await reaches(w, 5, POLL_AGE)
            await reaches(w, 1, RECONNECTS, "network")
            await reaches(w, 1, CALLS, "getUpdates", "network")
            # A message ends the long poll that comes after.
            await w.exchange("can you hear me?")
            await falls(w, 5, POLL_AGE)

            assert await gateway.stop() == 0

    asyncio.run(scene())


def test_a_flood_wait_and_a_conflict_are_counted(world) -> None:
    """How long Telegram told us to wait, and that another one polls, can be seen."""

    async def scene() -> None:
        async with world() as w:
            await w.start_bridge()
            gateway = await w.start_gateway()
            w.server.fault("getUpdates", faults.flood_wait(2))
            await reaches(w, 1, FLOOD_WAITS)
            await reaches(w, 1, CALLS, "getUpdates", "flood_wait")
            w.server.fault("getUpdates", faults.other_poller())
            await reaches(w, 1, RECONNECTS, "conflict")
            await reaches(w, 1, CALLS, "getUpdates", "conflict")
            await w.exchange("who else is there?")

            assert await value(w, FLOOD_SECONDS) == 2
            assert await gateway.stop() == 0

    asyncio.run(scene())


def test_somebody_who_waits_is_seen(world) -> None:
    """The age of the oldest unanswered message grows until it is answered."""

    async def scene() -> None:
        async with world() as w:
            await w.start_bridge()
            gateway = await w.start_gateway()
            await falls(w, 1, OLDEST)
            w.server.fault("sendMessage", Slow(9))
            w.users.members[0].send(users.text("is anybody there?"))
            await reaches(w, 1, OLDEST)
            assert await w.users.members[0].wait_answered(60)
            await falls(w, 1, OLDEST)

            assert await gateway.stop() == 0
            assert w.users.mistakes == []

    asyncio.run(scene())


def test_a_token_that_is_revoked_is_the_last_thing_told(world) -> None:
    """The gateway ends, and what ended it is on the bridge's page."""

    async def scene() -> None:
        async with world() as w:
            await w.start_bridge()
            gateway = await w.start_gateway()
            w.server.fault("getUpdates", faults.unauthorized())
            assert await gateway.process.wait() == 2
            await reaches(w, 1, ERRORS, "auth", "critical")

            assert await value(w, ERRORS, "auth", "critical") == 1
            assert await value(w, CALLS, "getUpdates", "unauthorized") == 1

    asyncio.run(scene())
