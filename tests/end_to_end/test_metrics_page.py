"""The five metrics of a gateway on the page of a bridge, both as processes."""

from __future__ import annotations

from collections.abc import Mapping

from crocbot.model import MessageType
from crocbot.sandbox import users
from crocbot.sandbox.metrics_page import ERRORS, LATENCY, MESSAGES, RECONNECTS, UPTIME
from tests.end_to_end.world import World

LINES = (
    users.text("hello"),
    users.text("again"),
    users.command("start", ""),
    users.photo("Look"),
)


async def test_the_five_metrics(world: World) -> None:
    """They are there before the first message, and have the values of a run."""
    await world.start_bridge()
    gateway = await world.start_gateway()

    async def has(name: str, expected: Mapping[str, float]) -> bool:
        return await world.values(name) == expected

    # One flush of the gateway is several datagrams: each metric is waited for.
    await world.eventually(
        lambda: has(MESSAGES, dict.fromkeys(map(str, MessageType), 0))
    )
    await world.eventually(lambda: world.values(RECONNECTS))
    for line in LINES:
        world.users.members[0].send(line)
    assert await world.users.members[0].wait_answered()
    assert await gateway.stop() == 0

    expected = {"text": 2, "command": 1, "media": 1}
    await world.eventually(lambda: has(MESSAGES, expected))
    await world.eventually(lambda: has(f"{LATENCY}_count", expected))
    assert all((await world.values(f"{LATENCY}_sum")).values())
    for errors in (ERRORS, RECONNECTS):
        assert set((await world.values(errors)).values()) == {0}
    assert (await world.values(UPTIME))[""] > 0
    assert (await world.values("statsd_exporter_events_unmapped_total"))[""] == 0
    assert world.users.mistakes == []
