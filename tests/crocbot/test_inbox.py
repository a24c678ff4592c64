"""What the inbox keeps, forgets and counts; and that a crash costs nothing."""

from __future__ import annotations

import asyncio
import itertools
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crocbot.errors import InboxError, OperatorError
from crocbot.events import NO_EVENTS, EventListener, InboxState
from crocbot.inbox import Database, Failure, Inbox, locked
from crocbot.inbox import database as database_module
from crocbot.inbox.database import KEEP
from crocbot.model import Disposition, Outcome, Row
from tests.crocbot.fakes import RecordedEvents

FILE = "crocbot.sqlite3"
ANSWERED, SET_ASIDE = Disposition.ANSWERED, Disposition.SET_ASIDE


def end(disposition: Disposition, *update_ids: int) -> Outcome:
    """A turn that ended these updates in this way."""
    return Outcome(disposition, update_ids=update_ids)


def use(
    folder: Path,
    scene: Callable[[Inbox], Awaitable[None]],
    clock: Callable[[], float] = lambda: 100.0,
    events: EventListener = NO_EVENTS,
) -> None:
    """Open the inbox of a folder, play a scene with it, close it."""

    async def sleep(_: float) -> None:
        await asyncio.sleep(0.01)

    async def run() -> None:
        async with Inbox(folder / FILE, events, clock=clock, sleep=sleep) as inbox:
            await scene(inbox)

    asyncio.run(asyncio.wait_for(run(), 30))


def closed(**counts: int) -> dict[Disposition, int]:
    """All dispositions with their counts; 0 unless named."""
    return {end: counts.get(end.value, 0) for end in Disposition}


def brief(ledger: InboxState) -> tuple[int, int, object]:
    """The part of the ledger that must add up."""
    return ledger.accepted, ledger.open, ledger.closed


def test_accept_and_close(tmp_path: Path) -> None:
    """An accepted update is open until it is closed, and every step is counted."""

    async def scene(inbox: Inbox) -> None:
        one, two = {"update_id": 1, "a": ["\u00e9", None]}, {"update_id": 2}
        rows = [Row(1, one, 100.0), Row(2, two, 100.0)]
        assert await inbox.accept([one, two]) == rows
        assert await inbox.open_rows() == rows
        assert brief(await inbox.state()) == (2, 2, closed())
        await inbox.close(end(ANSWERED, 1))
        assert await inbox.open_rows() == rows[1:]
        assert brief(await inbox.state()) == (2, 1, closed(answered=1))

    use(tmp_path, scene)


def test_duplicates(tmp_path: Path) -> None:
    """An update that comes again is not new: not in a batch, nor open, nor closed."""

    async def scene(inbox: Inbox) -> None:
        update = {"update_id": 1}
        assert len(await inbox.accept([update, update])) == 1
        assert await inbox.accept([update]) == []
        await inbox.close(end(ANSWERED, 1))
        assert await inbox.accept([update]) == []
        assert await inbox.open_rows() == []
        assert (await inbox.state()).accepted == 1

    use(tmp_path, scene)


def test_nothing_to_accept(tmp_path: Path) -> None:
    """An empty answer of Telegram is no work."""

    async def scene(inbox: Inbox) -> None:
        assert await inbox.accept([]) == []

    use(tmp_path, scene)


def test_a_row_ends_once(tmp_path: Path) -> None:
    """Closing again, or closing what is not there, changes no total."""

    async def scene(inbox: Inbox) -> None:
        await inbox.accept([{"update_id": 1}])
        await inbox.close(end(ANSWERED, 1))
        await inbox.close(end(Disposition.FAILED, 1))
        await inbox.close(end(ANSWERED, 2))
        assert brief(await inbox.state()) == (1, 0, closed(answered=1))

    use(tmp_path, scene)


def test_order_is_that_of_arrival(tmp_path: Path) -> None:
    """Open rows come oldest first, though Telegram's ids start anew at times."""
    clock = itertools.count(1.0).__next__

    async def scene(inbox: Inbox) -> None:
        await inbox.accept([{"update_id": 8}, {"update_id": 9}])
        await inbox.accept([{"update_id": 3}])
        assert [row.update_id for row in await inbox.open_rows()] == [8, 9, 3]

    use(tmp_path, scene, clock)


@pytest.mark.parametrize(
    "raw", [{"t": "\ud800 half a pair"}, {"t": "nul\x00"}, {"n": 10**400, "f": 1e308}]
)
def test_strange_content(tmp_path: Path, raw: dict[str, object]) -> None:
    """Whatever JSON can carry comes back as it was."""
    update = {"update_id": 1} | raw

    async def scene(inbox: Inbox) -> None:
        await inbox.accept([update])
        (row,) = await inbox.open_rows()
        assert row.raw == update

    use(tmp_path, scene)


def test_closes_share_a_transaction(tmp_path: Path) -> None:
    """Many closes at once all end on disk, in few transactions."""

    async def scene(inbox: Inbox) -> None:
        await inbox.accept([{"update_id": number} for number in range(100)])
        before = commits(tmp_path)
        await asyncio.gather(
            *(inbox.close(end(ANSWERED, number)) for number in range(100))
        )
        assert brief(await inbox.state()) == (100, 0, closed(answered=100))
        assert commits(tmp_path) - before < 10

    use(tmp_path, scene)


def commits(folder: Path) -> int:
    """How many transactions the write-ahead log holds; each ends in a sized frame."""
    log = (folder / f"{FILE}-wal").read_bytes()
    page = int.from_bytes(log[8:12], "big")
    frames = range(32, len(log), 24 + page)
    return sum(1 for at in frames if log[at + 4 : at + 8] != bytes(4))


def test_a_cancelled_close_is_written(tmp_path: Path) -> None:
    """A close that was asked for happens, even if nobody waits for it any more."""

    async def scene(inbox: Inbox) -> None:
        await inbox.accept([{"update_id": 1}])
        closing = asyncio.create_task(inbox.close(end(ANSWERED, 1)))
        await asyncio.sleep(0)
        closing.cancel()

    use(tmp_path, scene)
    database = sqlite3.connect(tmp_path / FILE)
    found = database.execute("SELECT disposition FROM rows").fetchall()
    database.close()

    assert found == [("answered",)]


def test_finished_rows_lose_their_content(tmp_path: Path) -> None:
    """Only what was set aside is kept to be looked at; the rest was private."""

    async def scene(inbox: Inbox) -> None:
        await inbox.accept([{"update_id": 1}, {"update_id": 2}])
        await inbox.close(end(ANSWERED, 1))
        await inbox.close(end(SET_ASIDE, 2))

    use(tmp_path, scene)
    database = sqlite3.connect(tmp_path / FILE)
    found = database.execute("SELECT raw FROM rows ORDER BY update_id").fetchall()
    database.close()

    assert found == [("",), ('{"update_id":2}',)]


def test_finished_rows_are_forgotten(tmp_path: Path) -> None:
    """After 48 hours an id is free again, for finished rows only."""
    now = [0.0]

    async def scene(inbox: Inbox) -> None:
        await inbox.accept([{"update_id": 1}, {"update_id": 2}])
        await inbox.close(end(ANSWERED, 1))
        now[0] = KEEP
        assert await inbox.accept([{"update_id": 1}]) == []
        now[0] = KEEP + 1
        fresh = await inbox.accept([{"update_id": 1}, {"update_id": 2}])
        assert [row.update_id for row in fresh] == [1]
        assert brief(await inbox.state()) == (3, 2, closed(answered=1))

    use(tmp_path, scene, lambda: now[0])


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    """Rows, content and totals are there when the file is opened again."""

    async def first(inbox: Inbox) -> None:
        await inbox.accept([{"update_id": 1}, {"update_id": 2}])
        await inbox.close(end(ANSWERED, 1))

    async def second(inbox: Inbox) -> None:
        assert await inbox.open_rows() == [Row(2, {"update_id": 2}, 100.0)]
        assert brief(await inbox.state()) == (2, 1, closed(answered=1))

    use(tmp_path, first)
    use(tmp_path, second)


def test_a_commit_is_on_disk(tmp_path: Path) -> None:
    """The file is in the mode in which a commit survives a power cut."""

    async def scene(inbox: Inbox) -> None:
        connection = inbox._database._connection
        assert connection is not None
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)

    use(tmp_path, scene)


def test_a_fault_of_the_disk(tmp_path: Path) -> None:
    """What cannot be stored raises; what cannot be closed is closed when it can."""

    async def scene(inbox: Inbox) -> None:
        await inbox.accept([{"update_id": 1}])
        other = sqlite3.connect(tmp_path / FILE)
        other.execute("CREATE TRIGGER stop BEFORE UPDATE ON ledger"
                      " BEGIN SELECT RAISE(ABORT, 'no room'); END")  # fmt: skip
        with pytest.raises(InboxError, match="no room"):
            await inbox.accept([{"update_id": 2}])
        assert inbox.fault == "no room"
        closing = asyncio.create_task(inbox.close(end(ANSWERED, 1)))
        while not troubles:
            await asyncio.sleep(0.01)
        assert brief(await inbox.state()) == (1, 1, closed())
        assert inbox.fault == "no room"
        other.execute("DROP TRIGGER stop")
        other.close()
        assert await closing == 1
        assert inbox.fault is None
        assert brief(await inbox.state()) == (1, 0, closed(answered=1))

    troubles = RecordedEvents()
    use(tmp_path, scene, events=troubles)


FAILED = Outcome(
    Disposition.FAILED, update_ids=(1, 2), reason="no \ud800?", undelivered="the answer"
)


def test_what_failed_is_kept(tmp_path: Path) -> None:
    """A failed row keeps its content, its reason and the answer that is left."""

    async def scene(inbox: Inbox) -> None:
        await inbox.accept([{"update_id": 1}, {"update_id": 2}])
        await inbox.close(FAILED)

    use(tmp_path, scene)
    with database(tmp_path) as rows:
        assert rows.failures() == [
            Failure(1, 100.0, "no ??", {"update_id": 1}),
            Failure(2, 100.0, "no ??", {"update_id": 2}),
        ]


def test_what_an_operator_wants_to_see(tmp_path: Path) -> None:
    """The oldest that wait, and what was set aside, which no retry opens again."""

    async def scene(inbox: Inbox) -> None:
        await inbox.accept([{"update_id": 3}])
        await inbox.accept([{"update_id": 1}, {"update_id": 2}])
        aside = Outcome(Disposition.SET_ASIDE, update_ids=(3,), reason="no date")
        await inbox.close(aside)

    use(tmp_path, scene)
    with database(tmp_path) as rows:
        assert [row.update_id for row in rows.waiting(1)] == [1]
        assert rows.failures() == [
            Failure(3, 100.0, "no date", {"update_id": 3}, Disposition.SET_ASIDE)
        ]
        assert rows.reopen([3]) == 0


def test_what_failed_can_be_opened_again(tmp_path: Path) -> None:
    """Opened again, also by another process, a row is told of once, with its answer."""

    async def scene(inbox: Inbox) -> None:
        await inbox.accept([{"update_id": 1}, {"update_id": 2}, {"update_id": 3}])
        await inbox.close(FAILED)
        await inbox.close(end(ANSWERED, 3))
        assert await inbox.reopened() == []
        with database(tmp_path) as rows:
            assert rows.reopen([3, 99]) == 0
            assert rows.reopen([1]) == 1
            assert rows.reopen(None) == 1
            assert rows.failures() == []
        assert brief(await inbox.state()) == (3, 2, closed(answered=1))
        again = [
            Row(1, {"update_id": 1}, 100.0, "the answer"),
            Row(2, {"update_id": 2}, 100.0),
        ]
        assert await inbox.reopened() == again
        assert await inbox.reopened() == []
        assert await inbox.open_rows() == again
        await inbox.close(end(ANSWERED, 1, 2))
        assert brief(await inbox.state()) == (3, 0, closed(answered=3))

    use(tmp_path, scene)


def test_opened_again_while_nobody_runs(tmp_path: Path) -> None:
    """The next start takes up what was opened again, once."""

    async def first(inbox: Inbox) -> None:
        await inbox.accept([{"update_id": 1}, {"update_id": 2}])
        await inbox.close(FAILED)

    async def second(inbox: Inbox) -> None:
        assert [row.update_id for row in await inbox.open_rows()] == [1, 2]
        assert await inbox.reopened() == []

    use(tmp_path, first)
    with database(tmp_path) as rows:
        rows.reopen(None)
    use(tmp_path, second)


@contextmanager
def database(folder: Path) -> Iterator[Database]:
    """The file as a command of the operator has it."""
    rows = Database(folder / FILE, lambda: 100.0)
    rows.open()
    yield rows
    rows.close()


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    """What was forgotten is given back to the file system, the log as well."""
    now = [0.0]

    async def scene(inbox: Inbox) -> None:
        for start in range(0, 2000, 100):
            ids = range(start, start + 100)
            await inbox.accept([{"update_id": n, "text": "x" * 2000} for n in ids])
            await inbox.close(end(Disposition.FAILED, *ids))
        await inbox.tidy()
        before = (tmp_path / FILE).stat().st_size
        now[0] = KEEP + 1
        for _ in range(3):
            await inbox.tidy()
        assert (tmp_path / FILE).stat().st_size < before / 10
        assert (tmp_path / f"{FILE}-wal").stat().st_size == 0

    use(tmp_path, scene, lambda: now[0])


def test_a_file_of_before_can_shrink_too(tmp_path: Path) -> None:
    """A file that somebody made without room for that is made anew at the start."""
    other = sqlite3.connect(tmp_path / FILE)
    other.execute("CREATE TABLE somebody_elses (x)")
    other.close()

    async def scene(inbox: Inbox) -> None:
        connection = inbox._database._connection
        assert connection is not None
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        assert connection.execute("SELECT * FROM somebody_elses").fetchall() == []

    use(tmp_path, scene)


def test_a_file_that_went_away(tmp_path: Path) -> None:
    """Nothing is accepted into a file that the next start will not find."""
    file, elsewhere = tmp_path / FILE, tmp_path / "elsewhere"

    async def scene(inbox: Inbox) -> None:
        file.rename(elsewhere)
        with pytest.raises(InboxError, match="No such file"):
            await inbox.accept([{"update_id": 1}])
        assert inbox.fault is not None
        file.touch()
        with pytest.raises(InboxError, match="is another file now"):
            await inbox.accept([{"update_id": 1}])
        elsewhere.rename(file)
        assert len(await inbox.accept([{"update_id": 1}])) == 1
        assert inbox.fault is None

    use(tmp_path, scene)


def test_a_locked_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another program keeps the file for itself nothing is accepted."""
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.01)

    async def scene(inbox: Inbox) -> None:
        other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(InboxError, match="locked"):
            await inbox.accept([{"update_id": 1}])
        with pytest.raises(InboxError, match="locked"):
            await inbox.probe()
        other.close()
        await inbox.probe()
        assert len(await inbox.accept([{"update_id": 1}])) == 1

    use(tmp_path, scene)


def test_a_full_disk(tmp_path: Path) -> None:
    """A write for which there is no room is undone as a whole; later all goes on."""

    async def scene(inbox: Inbox) -> None:
        connection = inbox._database._connection
        assert connection is not None
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages + 2}")
        update = {"update_id": 1, "text": "x" * 100_000}
        with pytest.raises(InboxError, match="full"):
            await inbox.accept([{"update_id": 2}, update])
        assert brief(await inbox.state()) == (0, 0, closed())
        assert inbox.fault == "database or disk is full"
        connection.execute("PRAGMA max_page_count=1000000")
        assert len(await inbox.accept([{"update_id": 2}, update])) == 2
        assert inbox.fault is None

    use(tmp_path, scene)


def test_a_disk_that_stays_full(tmp_path: Path) -> None:
    """The end of the gateway does not wait for ends that cannot be written."""

    async def scene(inbox: Inbox) -> None:
        await inbox.accept([{"update_id": 1}])
        (tmp_path / FILE).rename(tmp_path / "elsewhere")
        closing = asyncio.create_task(inbox.close(end(ANSWERED, 1)))
        while not troubles:
            await asyncio.sleep(0.01)
        assert inbox.unwritten == 1
        closing.cancel()

    troubles = RecordedEvents()
    use(tmp_path, scene, events=troubles)


def test_a_damaged_file(tmp_path: Path) -> None:
    """A file with broken pages is refused at the start, and left as it is."""

    async def scene(inbox: Inbox) -> None:
        await inbox.accept([{"update_id": n, "t": "x" * 999} for n in range(100)])

    use(tmp_path, scene)
    file = tmp_path / FILE
    damaged = bytearray(file.read_bytes())
    damaged[8192:40960] = b"\xff" * (40960 - 8192)
    file.write_bytes(damaged)
    with pytest.raises(OperatorError, match="move it away to start with an empty one"):
        use(tmp_path, None)  # type: ignore[arg-type]

    assert file.read_bytes() == damaged


def test_not_our_file(tmp_path: Path) -> None:
    """A file that is no database is refused with its name."""
    (tmp_path / FILE).write_text("hello " * 1000)
    with pytest.raises(OperatorError) as refused:
        use(tmp_path, None)  # type: ignore[arg-type]

    assert str(refused.value) == (
        f"{tmp_path / FILE} cannot be used as inbox: file is not a database;"
        " move it away to start with an empty one"
    )


def test_newer_format(tmp_path: Path) -> None:
    """A file of a later crocbot is refused, not changed."""
    database = sqlite3.connect(tmp_path / FILE)
    database.execute("PRAGMA user_version=2")
    database.close()
    with pytest.raises(OperatorError, match=r"newer crocbot \(format 2, this one"):
        use(tmp_path, None)  # type: ignore[arg-type]


def test_one_gateway_a_directory(tmp_path: Path) -> None:
    """A second lock is refused while the first one is held, and only then."""
    folder = tmp_path / "new" / "state"
    with locked(folder):
        with pytest.raises(OperatorError, match="another crocbot gateway works in"):
            locked(folder).__enter__()
        assert folder.stat().st_mode & 0o777 == 0o700
    with locked(folder):
        pass


def test_no_place_to_write(tmp_path: Path) -> None:
    """A state directory that cannot be made is refused with its name."""
    (tmp_path / "file").touch()
    with pytest.raises(OperatorError) as refused:
        locked(tmp_path / "file").__enter__()

    assert str(refused.value) == (
        f"CROCBOT_STATE_DIR: cannot write in {tmp_path / 'file'}: File exists"
    )


CRASHING = """
import asyncio, sys
from pathlib import Path
from crocbot.inbox import Inbox
from crocbot.model import Disposition, Outcome

async def main():
    async with Inbox(Path(sys.argv[1])) as inbox:
        for start in range(0, 10**9, 10):
            rows = await inbox.accept(
                [{"update_id": n, "text": "x" * 300} for n in range(start, start + 10)]
            )
            print("accepted", rows[-1].update_id, flush=True)
            for row in rows[:5]:
                await inbox.close(
                    Outcome(Disposition.ANSWERED, update_ids=(row.update_id,))
                )
                print("closed", row.update_id, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 8, 50, 333])
def test_a_killed_process_loses_nothing(tmp_path: Path, lines: int) -> None:
    """After kill -9 every update that was accepted is there, and the ledger closes."""
    told = killed_after(lines, tmp_path / FILE)
    accepted = [int(line[9:]) for line in told if line.startswith("accepted ")]
    done = {int(line[7:]) for line in told if line.startswith("closed ")}

    async def scene(inbox: Inbox) -> None:
        rows = {row.update_id for row in await inbox.open_rows()}
        ledger = await inbox.state()
        assert rows.isdisjoint(done)
        assert ledger.accepted == ledger.open + sum(ledger.closed.values())
        assert ledger.accepted > accepted[-1]
        # What the process had not yet told may be closed, too: at most the next one.
        missing = set(range(accepted[-1] + 1)) - rows - done
        assert len(missing) <= 1

    use(tmp_path, scene)


def killed_after(lines: int, file: Path) -> list[str]:
    """What a process told until it was killed, in the middle of its work."""
    command = [sys.executable, "-c", CRASHING, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        told += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    return [line for line in told if line.endswith("\n")]
