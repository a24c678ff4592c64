"""
Alerts of two real replicas, each with its own bridge: one truth, told once.

    gateway --> bridge <--.
    gateway --> bridge <-- Prometheus with the project's rules
       '-- alerts of the gateway --> webhook of the test
"""

from __future__ import annotations

import asyncio
import re
from importlib.resources import files
from typing import Any

import pytest
from aiohttp import web

from crocbot.alerts.table import AlertName
from crocbot.database_url import DatabaseUrl
from crocbot.sandbox import Person, faults
from crocbot.sandbox.children import Child
from crocbot.store import opened_postgresql
from tests.crocbot.fakes import serving
from tests.end_to_end.programs import Run
from tests.end_to_end.prometheus import (
    PROMETHEUS,
    RULES,
    Prometheus,
    prometheus,
    queries,
)
from tests.end_to_end.replicas import Replica
from tests.end_to_end.world import World
from tests.ports import HOST, free_port

pytestmark = pytest.mark.skipif(
    PROMETHEUS is None, reason="prometheus is not installed"
)

ADA = Person(7, "Ada")
FIRING, OVER = ("firing", AlertName.UNDELIVERED), ("resolved", AlertName.UNDELIVERED)
# Panels of the database, which the leader has the numbers of.
PANELS = {"Since the last poll", "Oldest open row", "Rows closed, all time", "Ledger"}


class WatchedReplica(Replica):
    """A replica with a bridge of its own, and alerts."""

    def __init__(self, world: World, number: int, url: str, webhook: str) -> None:
        super().__init__(world, number, url, statsd_port=free_port())
        self.bridge_port = free_port()
        self.bridge: Child | None = None
        self.settings |= {
            "CROCBOT_ALERT_WEBHOOK": webhook,
            "CROCBOT_ALERT_CLEAR_SECONDS": "1",
        }

    async def start_bridge(self) -> None:
        """Start the bridge."""
        self.bridge = await self.world.start(
            "statsd_bridge",
            f"--statsd.mapping-config={files('crocbot') / 'mapping.yml'}",
            f"--statsd.listen-udp={HOST}:{self.settings['CROCBOT_STATSD_PORT']}",
            "--statsd.listen-tcp=",
            f"--web.listen-address={HOST}:{self.bridge_port}",
        )

    async def stop_bridge(self) -> None:
        """Stop the bridge."""
        assert self.bridge is not None
        await self.bridge.stop()

    async def leads(self) -> bool:
        """Return whether it is the leader."""
        return ": the leader; " in (await self.page("/status") or "")


class Watch:
    """Prometheus, and what replicas have told by the webhook."""

    def __init__(self, world: World, server: Prometheus) -> None:
        self.world = world
        self.server = server

    async def firing(self, alert: str) -> list[str]:
        """Return the instances of which an alert fires."""
        found = await self.server.query(
            f'ALERTS{{alertname="{alert}", alertstate="firing"}}'
        )
        return [each["metric"]["instance"] for each in found]

    async def wait(self, alert: str, instances: list[str]) -> None:
        """Wait until an alert fires of exactly these instances."""

        async def fires() -> bool:
            return await self.firing(alert) == instances

        await self.world.eventually(fires)

    async def wait_for_value(self, query: str, value: float) -> None:
        """Wait until a query has a value."""

        async def has_value() -> bool:
            return await self.server.value(query) == value

        await self.world.eventually(has_value)


def recorded(url: str) -> int:
    """Return how many alerts the database knows to have been told."""
    with opened_postgresql(DatabaseUrl.parse(url)) as connection:
        (count,) = connection.execute("SELECT count(at) FROM alerts").fetchone()
    return int(count)


async def test_alerts_of_replicas(world: World, database_url: str, run: Run) -> None:
    """
    Each alert is one for the bot, and goes on when its teller is killed.

    The leader's bridge is stopped, an answer is kept, the leader is killed, and the
    answer is sent again.
    """
    told: list[tuple[str, str]] = []

    async def receive(request: web.Request) -> web.StreamResponse:
        body: Any = await request.json()
        if (name := body["groupLabels"]["alertname"]) == AlertName.UNDELIVERED:
            told.append((body["status"], name))
        return web.Response()

    rules = world.home / "rules.yml"
    rules.write_text(re.sub(r"\n    for: \w+", "", RULES.read_text()))
    async with serving({"POST /": receive}) as place:
        first, second = (
            WatchedReplica(world, number, database_url, f"http://{place}/")
            for number in range(2)
        )
        for each in (first, second):
            await each.start_bridge()
        ports = [first.bridge_port, second.bridge_port]
        async with prometheus(world, ports=ports, rules=rules) as server:
            watch = Watch(world, server)
            await first.start()
            await world.eventually(first.leads)
            await second.start()
            await watch.wait_for_value("sum(crocbot_leader_known)", 2)
            await watch.wait_for_value("count(crocbot:leader:known)", 2)
            await _stop_the_bridge(watch, first)
            bot = f"bot {world.server.token.partition(':')[0]}"
            world.server.fault("sendMessage", faults.api_error(400, "Bad Request: no"))
            world.server.send(ADA, "hello")
            await world.eventually(lambda: told == [FIRING])
            await watch.wait("CrocbotUndelivered", [bot])
            await world.eventually(lambda: recorded(database_url) == 1)

            await first.kill()
            await world.eventually(second.leads)
            await _wait_for_gauges(watch, second)
            await _check_panels(watch, bot)
            assert await watch.firing("CrocbotUndelivered") == [bot]
            retry = run("crocbot", "inbox", "retry", **second.settings)
            assert (await asyncio.to_thread(retry.end))[0] == 0
            await world.eventually(lambda: told == [FIRING, OVER])
            await world.eventually(lambda: world.replies.to(ADA) == ["hello"])
            assert await watch.firing("CrocbotSecondPoller") == []
            assert await second.stop() == 0


async def _stop_the_bridge(watch: Watch, leader: WatchedReplica) -> None:
    """Only the bridge is down: the standby knows that there is a leader."""
    await leader.stop_bridge()
    # Both alerts would follow from the same scrape.
    await watch.wait_for_value(
        "count_over_time("
        'ALERTS{alertname="CrocbotBridgeDown", alertstate="firing"}[1h]) > bool 2',
        1,
    )
    assert await watch.firing("CrocbotBridgeDown") == [f"{HOST}:{leader.bridge_port}"]
    assert await watch.firing("CrocbotNoLeader") == []
    await leader.start_bridge()
    await watch.wait("CrocbotBridgeDown", [])
    # An increase is one only after a scrape without it.
    await watch.wait_for_value('count(crocbot_delivery_snags_total{snag="refused"})', 2)


async def _wait_for_gauges(watch: Watch, leader: WatchedReplica) -> None:
    """Wait until Prometheus has the gauges of a leader, and who it is."""
    instance = f"{HOST}:{leader.bridge_port}"
    await watch.wait_for_value(
        f'sum(crocbot_inbox_closed_rows{{instance="{instance}"}})'
        f' * on () sum(crocbot_leader_epoch{{instance="{instance}"}} > bool 0)'
        f' * on () count(crocbot:replica:info{{instance="{instance}"}})',
        1,
    )


async def _check_panels(watch: Watch, bot: str) -> None:
    """
    Each panel of the database has the values of one replica, as those of the bot.

    No query of any panel fails.
    """
    for title, query in queries():
        found = await watch.server.query(query)
        if title not in PANELS:
            continue
        shown = [
            (each["metric"]["instance"], each["metric"].get("disposition"))
            for each in found
        ]
        assert len(shown) == len(set(shown)) > 0, title
        if title != "Ledger":
            assert {instance for instance, _ in shown} == {bot}, title
        failed = [
            each["value"][1]
            for each in found
            if each["metric"].get("disposition") == "failed"
        ]
        assert failed in ([], ["1"]), title
