"""
What alerts keep in the database: what was told, and when the gateway started.

So a restart repeats no message, and restarts can be counted.  Where replicas share the
database it also has a report of each, see reports.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from crocbot.alert_outcomes import AlertWay
from crocbot.alerts.conditions import Counts
from crocbot.alerts.state import Told
from crocbot.alerts.table import AlertName
from crocbot.inbox import count_kept_replies
from crocbot.replicas.name import host_of
from crocbot.replicas.report import find
from crocbot.store import Connection, Store
from crocbot.turn import CHAT_GONE_REASON

STARTS_SECONDS = 900.0
MAX_STARTS = 100
FORGET_REPORTS_SECONDS = 600.0

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
# PostgreSQL only: one statement, outside of a transaction.
EXCHANGE = """
WITH mine AS (
    INSERT INTO alert_reports (replica, at, report) VALUES (:replica, :now, :report)
    ON CONFLICT (replica) DO UPDATE SET at = excluded.at, report = excluded.report
), forgotten AS (
    DELETE FROM alert_reports WHERE replica <> :replica AND at < :now - :forget
)
SELECT replica, at, report FROM alert_reports WHERE replica <> :replica
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaReport:
    """What another replica has recorded last, this many seconds ago."""

    replica: str
    age: float
    report: str


@dataclass(frozen=True, slots=True)
class AlertKeeper:
    """
    The alerts in the file of `store`.  Raises StoreError.

    `replica` is the name of this process if replicas share the database.
    """

    store: Store
    replica: str | None = None

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
        job = partial(_record_start, now=self.now, replica=self.replica)
        await self.store.run(job)

    async def told(self) -> Mapping[AlertWay, dict[AlertName, Told]]:
        """Return what earlier processes, or other replicas, have told."""
        return await self.store.run(_told, write=False)

    async def save(self, way: AlertWay, told: Mapping[AlertName, Told]) -> bool:
        """
        Record what a way has told, instead of all before.

        Return False if another replica leads, whose record this is.
        """
        rows = [
            (str(name), str(way), each.since, each.at, each.ended)
            for name, each in told.items()
        ]

        def job(connection: Connection) -> bool:
            if self.replica is not None:
                leader = find(connection).leader
                if leader is not None and leader != self.replica:
                    return False
            connection.execute("DELETE FROM alerts WHERE way = ?", (str(way),))
            connection.executemany("INSERT INTO alerts VALUES (?, ?, ?, ?, ?)", rows)
            return True

        return await self.store.run(job)

    async def counts(self) -> Counts:
        """Return what is counted in the database."""
        job = partial(_counts, now=self.now, is_shared=self.replica is not None)
        return await self.store.run(job, write=False)

    async def exchange(self, report: str) -> Sequence[ReplicaReport]:
        """Record the report of this replica; return those of the others."""
        values = {
            "replica": self.replica,
            "report": report,
            "now": self.now,
            "forget": FORGET_REPORTS_SECONDS,
        }
        return await self.store.run(partial(_exchange, values=values), atomic=False)


def _record_start(connection: Connection, now: float, replica: str | None) -> None:
    if replica is None:
        connection.execute("INSERT INTO starts (at) VALUES (?)", (now,))
    else:
        values = (now, replica)
        connection.execute("INSERT INTO starts (at, replica) VALUES (?, ?)", values)
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


def _counts(connection: Connection, now: float, is_shared: bool) -> Counts:
    since = (now - STARTS_SECONDS,)
    if is_shared:
        starts = _most_starts(connection, since)
    else:
        (starts,) = connection.execute(
            "SELECT count(*) FROM starts WHERE at >= ?", since
        ).fetchone()
    return Counts(
        kept_replies=count_kept_replies(connection, CHAT_GONE_REASON), starts=starts
    )


def _most_starts(connection: Connection, since: tuple[float]) -> int:
    """
    Return the starts of a replica on the machine with most of them.

    Names of replicas begin with that of their machine; where several run, it is the
    average.
    """
    # Earlier versions recorded no name.
    found = connection.execute(
        "SELECT coalesce(replica, '') FROM starts WHERE at >= ?", since
    )
    starts = Counter(host_of(name) for (name,) in found)
    running = Counter(host_of(name) for name in find(connection).names)
    each = (
        count // max(1, running[host] if host else running.total())
        for host, count in starts.items()
    )
    return max(each, default=0)


def _exchange(
    connection: Connection, values: Mapping[str, Any]
) -> Sequence[ReplicaReport]:
    found = connection.execute(EXCHANGE, values).fetchall()
    return [
        ReplicaReport(replica=replica, age=values["now"] - at, report=report)
        for replica, at, report in found
    ]
