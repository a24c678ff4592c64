"""
What alerts keep in the state file: what was told, and when the gateway started.

So a restart repeats no message, and restarts can be counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from crocbot.alert_outcomes import AlertWay
from crocbot.alerts.conditions import Counts
from crocbot.alerts.state import Told
from crocbot.alerts.table import AlertName
from crocbot.inbox import count_kept_replies
from crocbot.store import Connection, Store
from crocbot.turn import CHAT_GONE_REASON

STARTS_SECONDS = 900.0
MAX_STARTS = 100

SCHEMA = """
CREATE TABLE IF NOT EXISTS alerts (
    name  TEXT NOT NULL,
    way   TEXT NOT NULL,
    since REAL NOT NULL,
    at    REAL,
    ended REAL,
    PRIMARY KEY (name, way)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS starts (id INTEGER PRIMARY KEY, at REAL NOT NULL)
"""


@dataclass(frozen=True, slots=True)
class AlertKeeper:
    """The alerts in the file of `store`.  Raises StoreError."""

    store: Store

    @property
    def now(self) -> float:
        """Return the time of the file."""
        return self.store.clock.read().time

    @property
    def wall_offset(self) -> float:
        """Return what makes Unix time of a time of the file."""
        now = self.store.clock.read()
        return now.wall - now.time

    async def record_start(self) -> None:
        """Record a start of the gateway."""
        await self.store.run(partial(_record_start, now=self.now))

    async def told(self) -> Mapping[AlertWay, dict[AlertName, Told]]:
        """Return what earlier processes, or other replicas, have told."""
        return await self.store.run(_told, write=False)

    async def save(self, way: AlertWay, told: Mapping[AlertName, Told]) -> None:
        """Record what a way has told, instead of all before."""
        rows = [
            (str(name), str(way), each.since, each.at, each.ended)
            for name, each in told.items()
        ]

        def job(connection: Connection) -> None:
            connection.execute("DELETE FROM alerts WHERE way = ?", (str(way),))
            connection.executemany("INSERT INTO alerts VALUES (?, ?, ?, ?, ?)", rows)

        await self.store.run(job)

    async def counts(self) -> Counts:
        """Return what is counted in the database."""
        return await self.store.run(partial(_counts, now=self.now), write=False)


def _record_start(connection: Connection, now: float) -> None:
    connection.execute("INSERT INTO starts (at) VALUES (?)", (now,))
    connection.execute(
        "DELETE FROM starts WHERE at < ? OR id <= (SELECT max(id) FROM starts) - ?",
        (now - STARTS_SECONDS, MAX_STARTS),
    )


def _told(connection: Connection) -> Mapping[AlertWay, dict[AlertName, Told]]:
    told: dict[AlertWay, dict[AlertName, Told]] = {way: {} for way in AlertWay}
    for name, way, since, at, ended in connection.execute("SELECT * FROM alerts"):
        # An alert of another version is forgotten.
        if name in set(AlertName) and way in set(AlertWay):
            told[AlertWay(way)][AlertName(name)] = Told(since=since, at=at, ended=ended)
    return told


def _counts(connection: Connection, now: float) -> Counts:
    (starts,) = connection.execute(
        "SELECT count(*) FROM starts WHERE at >= ?", (now - STARTS_SECONDS,)
    ).fetchone()
    return Counts(
        kept_replies=count_kept_replies(connection, CHAT_GONE_REASON), starts=starts
    )
