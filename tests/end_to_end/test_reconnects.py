"""A poll that fails is counted under the right reason, and the gateway goes on."""

from __future__ import annotations

import asyncio

import pytest

from crocbot.sandbox import faults
from crocbot.sandbox.faults import Drop, Fault, Slow
from crocbot.sandbox.page import RECONNECTS

NONE = {"conflict": 0, "network": 0, "timeout": 0}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(faults.other_poller(), "conflict", id="another poller"),
        pytest.param(faults.webhook_active(), "conflict", id="a webhook"),
        pytest.param(faults.bad_gateway(), "network", id="502"),
        pytest.param(faults.server_error(), "network", id="500"),
        pytest.param(faults.garbage(), "network", id="no Bot API answer"),
        pytest.param(Drop(), "network", id="connection dropped"),
        # This one takes as long as the gateway's patience with a poll, 40 s.
        pytest.param(Slow(600), "timeout", id="no answer"),
    ],
)
def test_a_failed_poll_has_a_reason(world, fault: Fault, reason: str) -> None:
    """One fault makes one reconnect of one reason, and people are answered after it."""

    async def scene() -> None:
        async with world() as w:
            await w.start_bridge()
            gateway = await w.start_gateway()
            await w.exchange("before")

            async def shows(expected: dict[str, float]) -> bool:
                return await w.values(RECONNECTS) == expected

            await w.eventually(lambda: shows(NONE))
            w.server.fault("getUpdates", fault)
            await w.eventually(lambda: shows({**NONE, reason: 1}))
            await w.exchange("after")

            assert await gateway.stop() == 0
            assert await w.values(RECONNECTS) == {**NONE, reason: 1}
            assert w.crowd.mistakes == []

    asyncio.run(scene())


def test_a_flood_wait_is_no_reconnect(world) -> None:
    """After a pause that Telegram asked for the gateway goes on; nothing was lost."""

    async def scene() -> None:
        async with world() as w:
            await w.start_bridge()
            gateway = await w.start_gateway()
            await w.exchange("before")
            w.server.fault("getUpdates", faults.flood_wait(2))
            calls = w.server.calls["getupdates"]
            await w.eventually(lambda: w.server.calls["getupdates"] > calls)
            await w.exchange("after")

            assert await gateway.stop() == 0
            assert await w.values(RECONNECTS) == NONE

    asyncio.run(scene())
