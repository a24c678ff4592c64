"""`crocbot database move`: everything arrives, once, or nothing does."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from crocbot import cli, store
from crocbot.database_move import BATCH_ROWS, RETENTION_TIMES, TABLES, TIMES
from crocbot.inbox import sql as inbox_sql
from crocbot.model import Disposition, Outcome, Reply
from crocbot.outgoing import Button
from crocbot.service.schemas import SCHEMAS
from crocbot.state_dir import locked
from tests.postgresql import Cluster

GROUP, SUPERGROUP = -5, -1005
CHATS = (7, 8, GROUP, SUPERGROUP, None)
HOUR = 3600.0
# Half an hour later than any age is shown, so that no age changes during a test.
AGES = st.integers(0, 40).map(lambda hours: (hours + 0.5) * HOUR)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
# NUL becomes U+FFFD in PostgreSQL, which `crocbot inbox` shows in another way.
SHOWN_TEXTS = TEXTS.map(lambda text: text.replace("\0", ""))
ENDS = st.sampled_from([None, *Disposition])
ROWS = st.lists(
    st.tuples(st.sampled_from(CHATS), ENDS, AGES, SHOWN_TEXTS, st.booleans()),
    max_size=12,
)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), max_size=4)
COMMANDS = (
    ("inbox",),
    ("pairing", "list"),
    ("usage",),
    ("send", "--list"),
)


class StateFile:
    """A state file with contents; its clock is `ahead` of the system's."""

    def __init__(self, folder: Path, ahead: float = 0.0) -> None:
        self.path = folder / "state" / "crocbot.sqlite3"
        with self.opened() as connection:
            connection.execute(
                "UPDATE clock SET time = time + ?, retention = retention + ?",
                (ahead, ahead / 2),
            )

    def opened(self) -> Any:
        """Open it for one transaction."""
        return store.opened(self.path, SCHEMAS)

    def add_rows(
        self, rows: Sequence[tuple[int | None, Disposition | None, float, str, bool]]
    ) -> None:
        """Accept updates, and close those that have an end."""
        with self.opened() as connection:
            now = store.load_clock(connection).read()
            for number, (chat, end, age, text, has_files) in enumerate(rows):
                update_id = 10 * number + 3
                message = {
                    "text": text,
                    **({} if chat is None else {"chat": {"id": chat}}),
                }
                inbox_sql.accept(
                    connection,
                    [{"update_id": update_id, "message": message}],
                    now.time - age,
                )
                reply = Reply(text, markdown=True)
                if has_files:
                    self._keep(connection, update_id, text)
                    reply = Reply(text, buttons=((Button(text="a", data="b"),),))
                if end is None:
                    inbox_sql.begin(connection, [update_id])
                    continue
                outcome = Outcome(
                    end,
                    update_ids=(update_id,),
                    reason=text or None,
                    undelivered=reply if end is Disposition.FAILED else None,
                )
                inbox_sql.close_rows(
                    connection, [outcome], now.time - age / 2, now.retention
                )

    @staticmethod
    def _keep(connection: Any, update_id: int, text: str) -> None:
        connection.execute(
            "INSERT INTO kept_replies (update_id, text, markdown, buttons, messages)"
            " VALUES (?, ?, 1, '[]', '[4]')",
            (update_id, text),
        )
        connection.execute(
            "INSERT INTO reply_files"
            " VALUES (?, 0, 3, 'photo', ?, 'image/png', '', NULL, ?)",
            (update_id, text, b"\x00\xff\n"),
        )

    def add_others(self, pairs: Sequence[tuple[str, str]], age: float) -> None:
        """Fill all other tables."""
        with self.opened() as connection:
            now = store.load_clock(connection).read()
            then = now.time - age
            for number, (one, other) in enumerate(pairs, 1):
                values: dict[str, tuple[Any, ...]] = {
                    "pairings": (number, f"CODE{number}", now.time - 60, 1, None),
                    "wrong_codes": (now.time - 7200,),
                    "exchanges": (5 * number, 7, 0, one, other),
                    "tokens": (7, number, number, 10, 20),
                    "message_digests": (number, 7, number, number, one.encode()),
                    "classic_forms": (number, number, 7, one, len(one), 1),
                    "limit_slots": (86_400, number, int(then // 300), 3, 4),
                    "limit_updates": (number, number),
                    "starts": (number, then),
                    "spending": (number, 3, 4, 5, 6, number),
                    "alerts": (f"alert-{number}", "chat", then, now.time, None),
                }
                for table, row in values.items():
                    places = ", ".join("?" * len(row))
                    connection.execute(f"INSERT INTO {table} VALUES ({places})", row)
                pushed = connection.execute(
                    "INSERT INTO pushed (chat_id, text, markdown, size, accepted)"
                    " VALUES (?, ?, 0, 3, ?)",
                    (SUPERGROUP, one, then),
                ).lastrowid
                connection.execute(
                    "INSERT INTO pushed_files"
                    " VALUES (?, 'photo', ?, 'image/png', 3, '', ?)",
                    (pushed, other, b"\x00\xff\n"),
                )
            connection.execute(
                "INSERT INTO moved_chats VALUES (?, ?)", (GROUP, SUPERGROUP)
            )
            connection.execute("UPDATE pushed_totals SET count = 9")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run a command in this process; return its exit code and output."""
    code = cli.main(arguments)
    captured = capsys.readouterr()
    return code, captured.out + captured.err


@pytest.fixture
def file(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> StateFile:
    """Return a state file, with the settings of a move to an empty database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CROCBOT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CROCBOT_DATABASE_URL", database_url)
    return StateFile(tmp_path)


def contents(connection: Any) -> dict[str, list[Any]]:
    """Return the rows of all tables, without their chats."""
    found = {}
    for table in TABLES:
        rows = connection.execute(f"SELECT * FROM {table}").fetchall()
        found[table] = sorted(
            (tuple(row[:14]) if table == "rows" else tuple(row) for row in rows),
            key=repr,
        )
    return found


def of_file(path: Path) -> tuple[dict[str, list[Any]], dict[str, list[str]]]:
    """Return the rows and the columns of all tables of a file."""
    with closing(sqlite3.connect(path)) as connection:
        columns = {
            table: [
                name
                for (name,) in connection.execute(
                    "SELECT name FROM pragma_table_info(?)", (table,)
                )
            ]
            for table in TABLES
        }
        return contents(connection), columns


@settings(
    max_examples=6,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=ROWS, pairs=PAIRS, age=AGES, ahead=st.sampled_from([0.0, 1e6, -1e6]))
def test_everything_arrives(
    rows: list[Any],
    pairs: list[tuple[str, str]],
    age: float,
    ahead: float,
    cluster: Cluster,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Commands show the same before and after, and all tables have the same rows."""
    folder, url = tmp_path_factory.mktemp("move"), cluster.create_database()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CROCBOT_STATE_DIR", str(folder / "state"))
    monkeypatch.delenv("CROCBOT_DATABASE_URL", raising=False)
    state = StateFile(folder, ahead)
    state.add_rows(rows)
    state.add_others(pairs, age)
    shown = [run(capsys, *command) for command in COMMANDS]
    before, columns = of_file(state.path)
    bytes_before = state.path.read_bytes()
    monkeypatch.setenv("CROCBOT_DATABASE_URL", url)
    code, text = run(capsys, "database", "move")

    assert code == 0, text
    assert "the ledger is the same in both: accepted " in text
    assert [run(capsys, *command) for command in COMMANDS] == shown
    assert state.path.read_bytes() == bytes_before
    with cluster.connect(url.rpartition("/")[2]) as connection:
        after = contents(connection)
    for table, names in columns.items():
        compare(table, names, before[table], after[table])
    cluster.drop_database(url)


def compare(
    table: str, columns: Sequence[str], before: list[Any], after: list[Any]
) -> None:
    """Assert that rows are equal, but for times and NUL, which cannot be stored."""
    times = TIMES.get(table, frozenset()) | {"slot"}
    times |= {column for other, column in RETENTION_TIMES if other == table}
    kept = [n for n, column in enumerate(columns) if column not in times | {"trying"}]

    def stored(rows: list[Any]) -> list[Any]:
        picked = [tuple(row[n] for n in kept) for row in rows]
        return sorted(
            (
                tuple(
                    each.replace("\0", "\ufffd") if isinstance(each, str) else each
                    for each in row
                )
                for row in picked
            ),
            key=repr,
        )

    assert stored(after) == stored(before)


def query(cluster: Cluster, url: str, statement: str) -> list[Any]:
    """Return what a statement finds in the database."""
    return cluster.execute(statement, url.rpartition("/")[2])


def test_what_is_derived(
    file: StateFile,
    cluster: Cluster,
    database_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Rows get the first id of their chat, and chats with open work are known."""
    file.add_rows(
        [
            (GROUP, None, 3 * HOUR, "a", False),
            (SUPERGROUP, None, 2 * HOUR, "b", False),
            (8, Disposition.FAILED, HOUR, "c", True),
            (7, Disposition.ANSWERED, HOUR, "d", False),
            (None, None, HOUR, "e", False),
        ]
    )
    file.add_others([("x", "y")], HOUR)
    assert run(capsys, "database", "move")[0] == 0

    rows = query(cluster, database_url, "SELECT chat FROM rows ORDER BY seq")
    assert rows == [(GROUP,), (GROUP,), (8,), (0,), (0,)]
    chats = query(
        cluster,
        database_url,
        "SELECT chat, owner, (extract(epoch FROM now()) - waiting_since) / 3600"
        " FROM chats ORDER BY chat",
    )
    assert [(chat, owner, round(hours)) for chat, owner, hours in chats] == [
        (GROUP, None, 3),
        (0, None, 1),
    ]


def test_numbers_go_on(
    file: StateFile,
    cluster: Cluster,
    database_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No new row gets the number of an old one, also of one that was deleted."""
    file.add_others([("x", "y"), ("x", "y")], HOUR)
    file.add_rows([(7, None, HOUR, "a", False)] * (BATCH_ROWS + 1))
    with file.opened() as connection:
        connection.execute("DELETE FROM pushed")
    assert run(capsys, "database", "move")[0] == 0

    def inserted(table: str, columns: str, values: str, number: str = "id") -> int:
        statement = f"INSERT INTO {table} ({columns}) VALUES ({values})"
        ((found,),) = query(cluster, database_url, f"{statement} RETURNING {number}")
        return int(found)

    pushed = "chat_id, text, markdown, size, accepted"
    assert inserted("pushed", pushed, "7, '', 0, 0, 0") == 3
    exchange = "chat_id, thread_id, asked, answered"
    assert inserted("exchanges", exchange, "7, 0, '', ''") == 11
    assert inserted("starts", "at", "0") == 3
    row = inserted("rows", "update_id, raw, accepted", "1, '', 0", "seq")
    assert row == BATCH_ROWS + 2


@pytest.mark.parametrize(("content", "tries"), [(b"stopped\n", 0), (b"running\n", 1)])
def test_turns_of_a_crash(
    content: bytes,
    tries: int,
    file: StateFile,
    cluster: Cluster,
    database_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What ran when the last gateway crashed is a suspect, as after a start."""
    file.add_rows([(7, None, HOUR, "a", False)])
    (file.path.parent / "lock").write_bytes(content)

    assert run(capsys, "database", "move")[0] == 0
    found = query(cluster, database_url, "SELECT trying, tries FROM rows")
    assert found == [(0, tries)]


def test_an_earlier_format(
    file: StateFile,
    cluster: Cluster,
    database_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A file of 0.1.0 is moved in its present form, and stays as it is."""
    old = (Path(__file__).parent / "data" / "0.1.0" / "crocbot.sqlite3").read_bytes()
    file.path.write_bytes(old)

    assert run(capsys, "database", "move")[0] == 0
    assert file.path.read_bytes() == old
    found = query(
        cluster,
        database_url,
        "SELECT update_id FROM rows WHERE disposition IS NULL ORDER BY seq",
    )
    assert found == [(17,), (8,), (9,), (3,)]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "INSERT INTO replicas VALUES ('host-1', now())",
            "a gateway works on the database, host-1: stop it",
        ),
        (
            "INSERT INTO leases VALUES ('leader', 'host-1', 1, now() + interval '9 s')",
            "a gateway works on the database, host-1: stop it",
        ),
        (
            "INSERT INTO pairings VALUES (1, NULL, 0, 0, 0)",
            "the database is not empty, its table pairings has rows",
        ),
        (
            "UPDATE ledger SET count = 1 WHERE line = 'ignored'",
            "the database is not empty, its table ledger has rows",
        ),
        (
            "INSERT INTO chats (chat, waiting_since) VALUES (1, 0)",
            "the database is not empty, its table chats has rows",
        ),
        (
            "UPDATE schema_version SET version = 999",
            "the tables were changed by a newer crocbot (version 999",
        ),
        ("ALTER TABLE spending ADD CHECK (person > 9)", "spending_person_check"),
        (
            "CREATE RULE one_less AS ON INSERT TO tokens DO INSTEAD NOTHING",
            "tokens has 0 rows in the database, 1 in the file: nothing was moved",
        ),
    ],
)
def test_refusals(
    statement: str,
    expected: str,
    file: StateFile,
    cluster: Cluster,
    database_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line says why nothing was moved; the database is as it was before."""
    file.add_rows([(7, None, HOUR, "a", False)])
    file.add_others([("x", "y")], HOUR)
    assert run(capsys, "database", "upgrade")[0] == 0
    query(cluster, database_url, statement)
    code, text = run(capsys, "database", "move")

    assert code in (1, 2)
    assert expected in text
    assert text.count("\n") == 1
    assert query(cluster, database_url, "SELECT count(*) FROM rows") == [(0,)]


def test_a_second_move(file: StateFile, capsys: pytest.CaptureFixture[str]) -> None:
    """The database is not empty any more."""
    file.add_rows([(7, None, HOUR, "a", False)])

    assert run(capsys, "database", "move")[0] == 0
    code, text = run(capsys, "database", "move")
    assert code == 2
    assert "the database is not empty" in text


def test_after_a_start_without_messages(
    file: StateFile,
    cluster: Cluster,
    database_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A start of the gateway with the new database leaves it empty."""
    run(capsys, "database", "upgrade")
    query(
        cluster,
        database_url,
        "INSERT INTO starts (at) VALUES (1);"
        "INSERT INTO leases VALUES ('leader', 'host-1', 1, now() - interval '1 s')",
    )
    assert run(capsys, "database", "move")[0] == 0


def test_a_wrong_ledger(file: StateFile, capsys: pytest.CaptureFixture[str]) -> None:
    """A file whose ledger does not add up is not moved."""
    with file.opened() as connection:
        connection.execute("UPDATE ledger SET count = 3 WHERE line = 'accepted'")
    code, text = run(capsys, "database", "move")

    assert code == 1
    assert "the ledger of the file does not add up: accepted 3 = answered 0 + " in text


def test_the_file_of_a_gateway_that_was_killed(
    file: StateFile,
    cluster: Cluster,
    database_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is in its log only is moved; neither the file nor its log is changed."""
    file.add_rows([(7, None, HOUR, "a", False)])
    with closing(sqlite3.connect(file.path)) as connection:
        connection.execute("UPDATE rows SET accepted = accepted - 1")
        connection.commit()
        # As a process that ends by SIGKILL leaves them.
        kept = shutil.copytree(file.path.parent, tmp_path / "killed")
    for each in kept.glob("*-shm"):
        each.unlink()
    shutil.rmtree(file.path.parent)
    kept.rename(file.path.parent)
    files = {each: each.read_bytes() for each in file.path.parent.glob("*.sqlite3*")}

    assert len(files) == 2
    assert run(capsys, "database", "move")[0] == 0
    assert query(cluster, database_url, "SELECT count(*) FROM rows") == [(1,)]
    assert {each: each.read_bytes() for each in files} == files


@pytest.mark.parametrize("raw", ["no JSON", "[]", "[" * 100_000])
def test_a_damaged_row(
    raw: str, file: StateFile, capsys: pytest.CaptureFixture[str]
) -> None:
    """No replica could read it, so it is not moved, and the update is named."""
    file.add_rows([(7, None, HOUR, "a", False)])
    with file.opened() as connection:
        connection.execute("UPDATE rows SET raw = ?", (raw,))
    code, text = run(capsys, "database", "move")

    assert (code, text.count("\n")) == (2, 1)
    assert "update 3 of the file is damaged" in text


def test_while_a_gateway_has_the_file(
    file: StateFile, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its gateway must be stopped first."""
    with locked(file.path.parent):
        code, text = run(capsys, "database", "move")

    assert code == 2
    assert "another crocbot gateway works in" in text


def test_nothing_to_move(
    tmp_path: Path,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The setting and the file are needed, and named if one is missing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CROCBOT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("CROCBOT_DATABASE_URL", raising=False)
    for command in ("move", "upgrade"):
        code, text = run(capsys, "database", command)
        assert (code, text.count("\n")) == (2, 1)
        assert text.startswith("crocbot: CROCBOT_DATABASE_URL is not set: ")
    monkeypatch.setenv("CROCBOT_DATABASE_URL", database_url)
    code, text = run(capsys, "database", "move")
    assert (code, text) == (
        2,
        f"crocbot: CROCBOT_STATE_DIR: there is no inbox in {tmp_path}/state\n",
    )
    assert not (tmp_path / "state").exists()
