"""Failed rows that an operator chooses, retries and drops."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crocbot import cli
from crocbot.inbox import SCHEMA, FailureFilter, drop, select, sql
from crocbot.inbox.selection import DROPPED
from crocbot.model import Disposition, Outcome, Reply
from crocbot.store import load_clock, opened
from tests.crocbot.databases import Database
from tests.crocbot.test_inbox_report import fail, update

FAILED = frozenset({Disposition.FAILED})


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return an inbox: 1 to 3 failed, 4 was set aside, 5 answered, 6 is open."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CROCBOT_STATE_DIR", str(tmp_path))
    file = tmp_path / "crocbot.sqlite3"
    with opened(file, [SCHEMA]) as connection:
        now = load_clock(connection).read().time
        chats = {1: 7, 2: 7, 3: -8, 4: 7, 5: 7, 6: 7}
        sql.accept(
            connection, [update(each, chat) for each, chat in chats.items()], now
        )
        fail(connection, 1, now - 7200, "Telegram refused the call: CHAT gone")
        fail(connection, 2, now - 60, "the agent failed")
        fail(connection, 3, now - 60, "chat gone")
        fail(connection, 4, now - 60, "no date", Disposition.SET_ASIDE)
        outcome = Outcome(Disposition.ANSWERED, update_ids=(5,))
        sql.close_rows(connection, [outcome], now, now)
    return file


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run `crocbot inbox` in this process; return its exit code and output."""
    code = cli.main(["inbox", *arguments])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def ledger(file: Path) -> dict[str, int]:
    """Return the ledger of an inbox that closes, without what is 0."""
    with opened(file, [SCHEMA]) as connection:
        state = sql.state(connection)
        counts = {str(each): count for each, count in state.closed.items() if count}
        rows = dict(
            connection.execute(
                "SELECT coalesce(disposition, 'open'), count(*) FROM rows GROUP BY 1"
            )
        )
    assert sum(counts.values()) + state.open == state.accepted
    assert rows == {**counts, **({"open": state.open} if state.open else {})}
    return rows


@pytest.mark.parametrize(
    ("flags", "ids"),
    [
        ([], [1, 2, 3]),
        (["--reason", "chat GONE"], [1, 3]),
        (["--chat", "7"], [1, 2]),
        (["--chat", "-8"], [3]),
        (["--since", "1h"], [2, 3]),
        (["--since", "30min", "--chat", "7"], [2]),
        (["--since", "2026-01-31"], [1, 2, 3]),
        (["--since", "2999-01-31T12:00"], []),
        (["1", "3", "--reason", "gone"], [1, 3]),
    ],
)
def test_retry(
    flags: list[str], ids: list[int], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Failed rows that match all filters are open again, and no others."""
    assert run(capsys, "retry", *flags) == (0, f"reopened: {len(ids)}\n")
    with opened(file, [SCHEMA]) as connection:
        opened_again = [row.update_id for row in sql.open_rows(connection)]
    assert sorted(opened_again) == [*ids, 6]
    ledger(file)


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["drop", "--yes", "--reason", ""], "it is empty"),
        (["retry", "--reason", " "], "it is empty"),
        (["retry", "4"], "not all of these updates have failed: see"),
        (["retry", "1", "--chat", "-8"], "not all of these updates have failed and"),
        (["drop", "6", "--yes"], "not all of these updates have failed or were set"),
        (["drop", "5", "--yes"], "not all of these updates have failed or were set"),
        (["drop", "1", "6", "--yes"], "not all of these updates have failed or"),
        (["drop", "1"], "Drop 1 rows? There is no terminal to ask in: give --yes"),
        (["retry", "--since", "soon"], "'soon' is no time: write 30min"),
        (["retry", "--since", "9999999999d"], "is no time"),
        (["retry", "--since", "-1h"], "is no time"),
        (["retry", "--chat", "ada"], "'ada' is not a valid integer"),
    ],
)
def test_what_cannot_be_chosen(
    flags: list[str], error: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and a sentence; rows that are open stay as they are."""
    code, text = run(capsys, *flags)

    assert code == 2
    assert error in text
    assert ledger(file)["open"] == 1 + ("reopened: 1" in text)


def test_drop(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The content is gone, the ledger closes, and the update is still known."""
    assert run(capsys, "drop", "--since", "1h", "--yes") == (
        0,
        "dropped: 3, counted as cancelled\n",
    )
    assert ledger(file) == {"answered": 1, "failed": 1, "cancelled": 3, "open": 1}
    with opened(file, [SCHEMA]) as connection:
        assert sql.accept(connection, [update(4)], 0.0) == []
        rows = connection.execute(
            "SELECT raw, reply, reason FROM rows WHERE disposition = 'cancelled'"
        ).fetchall()
    assert rows == [("", None, DROPPED)] * 3
    assert run(capsys, "drop", "--reason", "no such", "--yes")[1].startswith(
        "dropped: 0"
    )
    assert "failed, kept for a retry: 1\n" in run(capsys)[1]


def test_a_dropped_answer_has_no_files(database: Database) -> None:
    """What was kept of an answer is deleted with its row, once."""
    with database.opened([SCHEMA]) as connection:
        sql.accept(connection, [update(1, 7)], 0.0)
        reply = Reply("undelivered")
        outcome = Outcome(
            Disposition.FAILED, update_ids=(1,), reason="no", undelivered=reply
        )
        sql.close_rows(connection, [outcome], 0.0, 0.0)
        connection.execute(
            "INSERT INTO kept_replies (update_id, text, markdown, buttons)"
            " VALUES (1, 'x', 0, '[]')"
        )
        assert drop(connection, [1, 1]) == 1
        assert drop(connection, [1]) == 0
        assert connection.execute("SELECT * FROM kept_replies").fetchall() == []


def test_a_filter(file: Path) -> None:
    """Without conditions every failure matches; dispositions can be left out."""
    with opened(file, [SCHEMA]) as connection:
        every = select(connection, FailureFilter())
        failed = select(connection, FailureFilter(), FAILED)
    assert {each.update_id for each in every} == {1, 2, 3, 4}
    assert {each.update_id for each in failed} == {1, 2, 3}
