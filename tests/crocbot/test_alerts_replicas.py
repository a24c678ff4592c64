"""Alerts of several replicas: only the leader tells them, each of them once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from crocbot import alerts, inbox, settings
from crocbot.alert_outcomes import AlertWay
from crocbot.alerts import AlertEvents, AlertKeeper, Alerts
from crocbot.alerts.state import Notice
from crocbot.errors import StoreError
from crocbot.events import NO_EVENTS
from crocbot.replicas.leader import Term
from crocbot.store import Store
from tests.crocbot.databases import Database
from tests.crocbot.fakes import Elected


class RecordedWay:
    """A way that keeps the messages."""

    name = AlertWay.WEBHOOK
    skips: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.closes: Alerts | None = None
        self.closing: asyncio.Task[None] | None = None

    async def send(self, notice: Notice, **_: Any) -> None:
        self.told.append((str(notice.name), str(notice.kind)))
        self.closing = asyncio.create_task(self._close_alerts())

    async def _close_alerts(self) -> None:
        await asyncio.sleep(0)
        if self.closes is not None:
            await self.closes.__aexit__()

    async def close(self) -> None:
        pass


class Replica:
    """One replica with alerts; `inbox_fails` is a condition of it."""

    def __init__(self, store: Store) -> None:
        self.way = RecordedWay()
        self.inbox_fails = False
        self.leadership = Elected()
        self.events = AlertEvents(NO_EVENTS)
        loaded, _ = settings.load(
            {
                "TELEGRAM_BOT_TOKEN": "1:token",
                "CROCBOT_ALERT_CHAT": "7",
                "CROCBOT_ALERT_CLEAR_SECONDS": "1",
            },
            None,
        )
        self.keeper = AlertKeeper(store)
        self.alerts = Alerts(
            settings=loaded,
            ways=[self.way],  # type: ignore[list-item]
            keeper=self.keeper,
            events=self.events,
            state=self,
            leadership=self.leadership,
        )

    def telegram_error(self) -> str | None:
        """Return None: Telegram gives updates."""
        return None

    def inbox_error(self) -> str | None:
        """Return an error while the condition holds."""
        return "no answer" if self.inbox_fails else None


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


async def saved(replica: Replica) -> None:
    """Wait until the database has what a replica has told."""
    async with asyncio.timeout(30):
        while not any(
            told.at for told in (await replica.keeper.told())[AlertWay.WEBHOOK].values()
        ):
            await asyncio.sleep(0.02)


@pytest.fixture
async def replicas(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Replica, Replica]]:
    """Return two replicas that share a database; neither leads."""
    monkeypatch.setattr("crocbot.alerts.alerts.INTERVAL_SECONDS", 0.02)
    async with AsyncExitStack() as stack:
        schemas = [inbox.SCHEMA, alerts.SCHEMA]
        store = await stack.enter_async_context(database.store(schemas))
        both = Replica(store), Replica(store)
        for each in both:
            await stack.enter_async_context(each.alerts)
        yield both


FIRING, OVER = ("CrocbotInboxFails", "firing"), ("CrocbotInboxFails", "over")


async def test_an_alert_is_told_by_the_leader_only(
    replicas: tuple[Replica, Replica],
) -> None:
    """After a takeover it is not told again, and its end is told once."""
    first, second = replicas
    first.inbox_fails = second.inbox_fails = True
    first.leadership.leader = "first"
    first.leadership.begin(Term(5))
    second.leadership.leader = "first"
    await saved(first)
    assert (first.way.told, second.way.told) == ([FIRING], [])

    first.leadership.leader = "second"
    first.leadership.end()
    second.leadership.begin(Term(6))
    first.inbox_fails = second.inbox_fails = False
    await until(lambda: second.way.told == [OVER])
    assert first.way.told == [FIRING]


async def test_the_database_is_gone(
    replicas: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last leader tells it without a lease, and its end once another one leads."""
    first, second = replicas
    first.leadership.leader = "first"
    first.leadership.begin(Term(5))
    await until(lambda: bool(first.alerts.counts.starts))

    async def save(*_: object) -> None:
        raise StoreError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(AlertKeeper, "save", save)
        first.leadership.leader = None
        first.leadership.end()
        first.inbox_fails = second.inbox_fails = True
        await until(lambda: first.way.told == [FIRING])
    first.inbox_fails = second.inbox_fails = False
    first.leadership.leader = "second"
    second.leadership.begin(Term(6))
    await until(lambda: first.way.told == [FIRING, OVER])

    assert second.way.told == []


async def test_a_start_of_each_replica_is_no_restart(
    replicas: tuple[Replica, Replica],
) -> None:
    """The replicas that run are subtracted from the starts."""
    first, _ = replicas
    for _ in range(2):
        await first.keeper.record_start()
    first.leadership.others = 3
    first.leadership.begin(Term(5))
    await until(lambda: bool(first.alerts.counts.starts))

    assert first.alerts.counts.starts == 1
    assert first.way.told == []


async def test_the_token_is_refused_before_there_is_a_leader(
    replicas: tuple[Replica, Replica],
) -> None:
    """The replica that ends tells it if no other one is known to lead."""
    first, second = replicas
    first.leadership.leader = None
    for each in replicas:
        each.events.token_refused = True
        await each.alerts.__aexit__()

    assert first.way.told == [("CrocbotTokenRefused", "firing")]
    assert second.way.told == []


async def test_the_gateway_stops_when_an_alert_was_sent(
    replicas: tuple[Replica, Replica],
) -> None:
    """It ends, also if both happen before the record of the alert is written."""
    first, _ = replicas
    first.way.closes = first.alerts
    first.inbox_fails = True
    first.leadership.begin(Term(5))
    await until(lambda: first.way.closing is not None)
    assert first.way.closing is not None
    await asyncio.wait({first.way.closing}, timeout=30)

    assert first.way.closing.done()
