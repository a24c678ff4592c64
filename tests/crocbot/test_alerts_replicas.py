"""Alerts of several replicas: only the leader tells them, each of them once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from crocbot import alerts, inbox, settings
from crocbot.alert_outcomes import AlertWay
from crocbot.alerts import AlertEvents, AlertKeeper, Alerts
from crocbot.alerts.state import Notice, Told
from crocbot.alerts.table import AlertName
from crocbot.database_url import DatabaseUrl
from crocbot.errors import StoreError
from crocbot.events import NO_EVENTS, AgentCall, DiskSpace
from crocbot.replicas.leader import Term
from crocbot.store import Connection, Store, opened_postgresql
from crocbot.store.postgresql import PostgresStore
from crocbot.turn_outcomes import AgentErrorReason
from tests.crocbot.databases import Database
from tests.crocbot.fakes import Elected


class RecordedWay:
    """A way that keeps the messages."""

    name = AlertWay.WEBHOOK
    skips: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.values: list[str] = []
        self.closes: Alerts | None = None
        self.closing: asyncio.Task[None] | None = None

    async def send(self, notice: Notice, **_: Any) -> None:
        self.told.append((str(notice.name), str(notice.kind)))
        self.values.append(notice.value)
        self.closing = asyncio.create_task(self._close_alerts())

    async def _close_alerts(self) -> None:
        await asyncio.sleep(0)
        if self.closes is not None:
            await self.closes.__aexit__()

    async def close(self) -> None:
        pass


@dataclass(frozen=True)
class WatchedKeeper(AlertKeeper):
    """Keeps which alerts it has read, and whether it has recorded what was told."""

    read: set[AlertName] = field(default_factory=set)
    saves: list[bool] = field(default_factory=list)

    async def save(self, way: AlertWay, told: Mapping[AlertName, Told]) -> bool:
        self.saves.append(await super().save(way, told))
        return self.saves[-1]

    async def told(self) -> Mapping[AlertWay, dict[AlertName, Told]]:
        found = await super().told()
        self.read.update(*found.values())
        return found


class Replica:
    """One replica with alerts; `inbox_fails` is a condition of it."""

    def __init__(self, store: Store, name: str | None = None) -> None:
        self.way = RecordedWay()
        self.inbox_fails = False
        self.leadership = Elected()
        self.events = AlertEvents(NO_EVENTS)
        loaded, _ = settings.load(
            {
                "TELEGRAM_BOT_TOKEN": "1:token",
                "CROCBOT_ALERT_CHAT": "7",
                "CROCBOT_ALERT_AFTER_SECONDS": "1",
                "CROCBOT_ALERT_CLEAR_SECONDS": "1",
            },
            None,
        )
        self.keeper = WatchedKeeper(store, name)
        self.alerts = Alerts(
            settings=loaded,
            ways=[self.way],  # type: ignore[list-item]
            keeper=self.keeper,
            events=self.events,
            state=self,
            leadership=self.leadership,
        )

    def lead(self, epoch: int) -> None:
        """Begin a term."""
        self.leadership.leader = "this one"
        self.leadership.begin(Term(epoch))

    def follow(self) -> None:
        """End the term: another replica leads."""
        self.leadership.leader = "another one"
        self.leadership.end()

    def ask(self, count: int, error: AgentErrorReason | None = None) -> None:
        """Have prompts answered, or failed."""
        for _ in range(count):
            self.events.emit(AgentCall(seconds=1.0, error=error))

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


def count_reports(connection: Connection) -> int:
    """Return how many replicas have recorded a report."""
    (count,) = connection.execute("SELECT count(*) FROM alert_reports").fetchone()
    return int(count)


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


@pytest.fixture
async def sharing(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Replica, Replica]]:
    """Return two replicas that know of each other; neither leads."""
    monkeypatch.setattr("crocbot.alerts.alerts.INTERVAL_SECONDS", 0.02)
    monkeypatch.setattr("crocbot.alerts.alerts.COUNT_EVERY_SECONDS", 0.05)
    async with AsyncExitStack() as stack:
        store = PostgresStore(DatabaseUrl.parse(database_url))
        await stack.enter_async_context(store)
        both = Replica(store, "one-a1b2c3"), Replica(store, "two-a1b2c3")
        for each in both:
            await stack.enter_async_context(each.alerts)
        async with asyncio.timeout(30):
            while await store.run(count_reports, write=False) < len(both):
                await asyncio.sleep(0.02)
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

    async def save(keeper: AlertKeeper, *arguments: Any) -> bool:
        # Until the end: it may be saving when another replica becomes the leader.
        if keeper is first.keeper:
            raise StoreError("gone")
        return await save_any(keeper, *arguments)

    save_any = AlertKeeper.save
    monkeypatch.setattr(AlertKeeper, "save", save)
    first.leadership.leader = None
    first.leadership.end()
    first.inbox_fails = second.inbox_fails = True
    await until(lambda: first.way.told == [FIRING])
    first.inbox_fails = second.inbox_fails = False
    first.leadership.leader = "second"
    second.leadership.begin(Term(6))
    await until(lambda: first.way.told == [FIRING, OVER])

    assert second.way.told == []


async def test_the_agent_fails_on_a_standby(
    sharing: tuple[Replica, Replica],
) -> None:
    """The leader counts the events of all replicas, and tells an alert about them."""
    first, second = sharing
    first.lead(5)
    first.ask(6)
    second.ask(2, AgentErrorReason.TIMEOUT)
    first.ask(1, AgentErrorReason.TIMEOUT)
    await until(lambda: first.way.told == [("CrocbotAgentErrors", "firing")])

    assert first.way.values == ["33%"]
    assert second.way.told == []


async def test_the_next_leader_knows_earlier_events(
    sharing: tuple[Replica, Replica],
) -> None:
    """Failures before a takeover, which were too few then, and after it are added."""
    first, second = sharing
    first.lead(5)
    first.ask(2, AgentErrorReason.TIMEOUT)
    await until(lambda: second.events.agent_errors.count(600) == 2)
    first.follow()
    second.lead(6)
    second.ask(1, AgentErrorReason.TIMEOUT)
    await until(lambda: second.way.told == [("CrocbotAgentErrors", "firing")])

    assert first.way.told == []


async def test_what_is_over_is_not_counted_again_by_the_next_leader(
    sharing: tuple[Replica, Replica],
) -> None:
    """A standby forgets the events of an alert whose end the leader has told."""
    first, second = sharing
    first.lead(5)
    async with asyncio.timeout(30):
        while AlertName.AGENT_ERRORS not in second.keeper.read:
            first.ask(3, AgentErrorReason.TIMEOUT)
            await asyncio.sleep(0.02)
    await until(lambda: len(first.way.told) == 2)
    await until(lambda: second.events.agent_errors.count(600) == 0)
    first.follow()
    second.lead(6)
    second.ask(1, AgentErrorReason.OPERATOR)
    misconfigured = ("CrocbotAgentMisconfigured", "firing")
    await until(lambda: bool(second.way.told))

    assert second.way.told == [misconfigured]
    assert first.way.told == [
        ("CrocbotAgentErrors", "firing"),
        ("CrocbotAgentErrors", "over"),
    ]


async def test_the_disk_of_a_standby_is_full(
    sharing: tuple[Replica, Replica],
) -> None:
    """The leader tells it, with the name of the replica."""
    first, second = sharing
    first.lead(5)
    first.events.emit(DiskSpace(free=20 << 30, size=40 << 30))
    second.events.emit(DiskSpace(free=500 << 20, size=20 << 30))
    await until(lambda: first.way.told == [("CrocbotDiskNearlyFull", "firing")])

    assert first.way.values == ["500 MiB of 20480 MiB on two-a1b2c3"]


async def test_a_leader_that_was_paused_leads_again(
    sharing: tuple[Replica, Replica],
) -> None:
    """It does not tell what another one has told and ended meanwhile."""
    first, second = sharing
    first.lead(5)
    first.inbox_fails = True
    await saved(first)
    # A paused replica does not see that its term ends.
    second.lead(6)
    async with asyncio.timeout(30):
        while any((await second.keeper.told()).values()):
            await asyncio.sleep(0.02)
    assert second.way.told == [OVER]
    second.follow()
    first.inbox_fails = False
    first.lead(7)
    await until(lambda: first.way.told != [FIRING] or not first.alerts.firing)

    assert first.way.told == [FIRING]


async def test_a_leader_that_was_cut_off_is_back(
    sharing: tuple[Replica, Replica], database_url: str
) -> None:
    """What it told without a lease is no record of the new leader; it tells the end."""
    first, second = sharing
    first.lead(5)
    await until(lambda: bool(first.alerts.counts.starts))
    with opened_postgresql(DatabaseUrl.parse(database_url)) as connection:
        connection.execute(
            "INSERT INTO leases (name, owner, epoch, until)"
            " VALUES ('leader', 'two-a1b2c3', 6, 'infinity')"
        )
    first.leadership.leader = None
    first.leadership.end()
    second.lead(6)
    first.inbox_fails = True
    await until(lambda: first.way.told == [FIRING])
    saves = first.keeper.saves
    await until(lambda: len(saves) > 0)
    first.leadership.leader = "two-a1b2c3"
    await until(lambda: first.way.told == [FIRING, OVER])

    assert not any(saves)
    assert not any((await first.keeper.told()).values())


async def test_restarts_are_those_of_one_machine(
    sharing: tuple[Replica, Replica], database_url: str
) -> None:
    """A start of each of many replicas is no restart, and machines are not added up."""
    first, _ = sharing
    with opened_postgresql(DatabaseUrl.parse(database_url)) as connection:
        for name in ("one-d4e5f6", "two-d4e5f6", *(f"m{n}-a1b2c3" for n in range(9))):
            connection.execute(
                "INSERT INTO starts (at, replica) VALUES (?, ?)",
                (first.keeper.now, name),
            )
    counts = await first.keeper.counts()
    assert counts.starts == 2
    with opened_postgresql(DatabaseUrl.parse(database_url)) as connection:
        connection.execute(
            "INSERT INTO replicas (owner, seen) VALUES"
            " ('one-a1b2c3', 'infinity'), ('one-d4e5f6', 'infinity'),"
            " ('two-a1b2c3', 'infinity'), ('two-d4e5f6', 'infinity')"
        )
    # Two replicas run on each of these machines, and none has started again.
    assert (await first.keeper.counts()).starts == 1
    for _ in range(6):
        await first.keeper.record_start()
    first.lead(5)
    await until(lambda: first.way.told == [("CrocbotGatewayRestarts", "firing")])

    assert first.way.values == ["4"]


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
