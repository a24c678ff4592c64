"""What an operator reads about an inbox."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crocbot.inbox import SCHEMA, describe, report, sql
from crocbot.model import Disposition, Outcome
from crocbot.store import Connection
from tests.crocbot.databases import Database

LEDGER = (
    "accepted 6 = answered 0 + failed 2 + denied 0 + cancelled 0 + ignored 0"
    " + set_aside 1 + open 3"
)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """Return the file of an inbox, as a command opens it."""
    with database.opened([SCHEMA]) as connection:
        yield connection


def update(update_id: int, chat: object = None) -> dict[str, object]:
    """Return an update of a chat."""
    return {"update_id": update_id, "message": {"chat": {"id": chat}}}


def fail(
    connection: Connection,
    update_id: int,
    now: float,
    reason: str,
    disposition: Disposition = Disposition.FAILED,
) -> None:
    """Close a row as failed."""
    outcome = Outcome(disposition, update_ids=(update_id,), reason=reason)
    sql.close_rows(connection, [outcome], now, now)


def test_an_inbox(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Depth, age, the oldest open rows, the equation, and failures with reasons."""
    monkeypatch.setattr(report, "MAX_SHOWN", 2)
    sql.accept(connection, [update(1, -5), update(2), update(3)], 0.0)
    fail(connection, 1, 0.0, "no\nforged line")
    fail(connection, 2, 880.0, "blocked")
    fail(connection, 3, 940.0, "no date", Disposition.SET_ASIDE)
    sql.accept(connection, [update(7, 9)], 100.0)
    press = {"update_id": 8, "callback_query": {"message": {"chat": {"id": 7}}}}
    sql.accept(connection, [press, update(9)], 990.0)

    assert list(describe(connection, 1000.0)) == [
        "open: 3, the oldest for 15 min",
        "  update 7 of chat 9, 15 min ago",
        "  update 8 of chat 7, 10 s ago",
        "  and 1 newer ones",
        LEDGER,
        "failed, kept for a retry: 2",
        "  update 2, 2 min ago: blocked",
        "  update 1 of chat -5, 16 min ago: no?forged line",
        "set aside, for a report: 1",
        "  update 3, 1 min ago: no date",
    ]


def test_an_empty_inbox(connection: Connection) -> None:
    """Without open rows there is no age."""
    assert next(describe(connection, 0.0)) == "open: 0"


def test_many_failures(connection: Connection) -> None:
    """Of too many failures the latest are shown."""
    count = report.MAX_SHOWN + 7
    sql.accept(connection, [update(each) for each in range(count)], 0.0)
    for each in range(count):
        fail(connection, each, float(each), "no")
    lines = list(describe(connection, 1e6))

    assert len(lines) == 3 + report.MAX_SHOWN + 1
    assert lines[3].startswith(f"  update {count - 1}, 11 d ago")
    assert lines[-1] == "  and 7 older ones"
