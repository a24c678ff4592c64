"""The time of the state file goes on whatever the system's clock does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot import clocks as system_clocks
from crocbot.store import Connection, Reading, opened
from crocbot.store.clock import (
    MAX_GAP_SECONDS,
    MAX_RETENTION_GAP_SECONDS,
    FileClock,
)
from tests.crocbot.fakes import FakeClocks

HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """Return a file whose clock was never read."""
    with opened(tmp_path / "x.sqlite3", []) as connection:
        connection.execute("DELETE FROM clock")
        yield connection


def passed(since: Reading, now: Reading) -> tuple[float, float]:
    """Return how much time, and retention time, is between two readings."""
    return now.time - since.time, now.retention - since.retention


def test_it_starts_as_unix_time(connection: Connection) -> None:
    """A new file has the Unix time; its times can be told on the monotonic clock."""
    clocks = FakeClocks(5000.0)
    clocks.monotonic = 7.0

    now = FileClock.load(connection, clocks.system()).read()

    assert (now.time, now.retention) == (5000.0, 5000.0)
    assert now.to_monotonic(4990.0) == -3.0


@pytest.mark.parametrize("step", [3 * DAY, -60.0, -50 * 365 * DAY])
def test_steps_of_the_wall_clock(connection: Connection, step: float) -> None:
    """No step changes it, within a process or between two of a boot."""
    clocks = FakeClocks()
    clock = FileClock.load(connection, clocks.system())
    first = clock.read()
    FileClock.save(connection, first)
    clocks.wall += step
    clocks.run(10.0)

    assert passed(first, clock.read()) == (10.0, 10.0)
    assert passed(first, FileClock.load(connection, clocks.system()).read()) == (
        10.0,
        10.0,
    )


@pytest.mark.parametrize(
    ("off", "time", "retention"),
    [
        (120.0, 120.0, 120.0),
        (2 * DAY, 2 * DAY, MAX_RETENTION_GAP_SECONDS),
        (-DAY, 0.0, 0.0),
        (5000 * DAY, MAX_GAP_SECONDS, MAX_RETENTION_GAP_SECONDS),
    ],
)
def test_a_reboot(
    connection: Connection, off: float, time: float, retention: float
) -> None:
    """After a reboot only the wall clock is left, and it is believed within bounds."""
    clocks = FakeClocks(1e9)
    first = FileClock.load(connection, clocks.system()).read()
    FileClock.save(connection, first)
    clocks.reboot(1e9 + off)

    second = FileClock.load(connection, clocks.system()).read()

    assert passed(first, second) == (time, retention)


def test_a_process_that_was_stopped_for_days(connection: Connection) -> None:
    """A gap within a boot counts in full for ages, and as an hour for retention."""
    clocks = FakeClocks()
    clock = FileClock.load(connection, clocks.system())
    first = clock.read()
    clocks.run(3 * DAY)

    assert passed(first, clock.read()) == (3 * DAY, HOUR)


def test_a_system_without_a_boot_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process is taken as another boot."""
    monkeypatch.setattr(system_clocks, "BOOT_ID", Path("/does/not/exist"))

    assert system_clocks.boot_id() != system_clocks.boot_id()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["wall", "monotonic", "reboot"]),
            st.floats(-1e10, 1e10, allow_nan=False),
        ),
        max_size=20,
    )
)
def test_it_never_goes_back(steps: list[tuple[str, float]]) -> None:
    """Whatever the clocks do, time grows and no gap counts as more than its bound."""
    clocks = FakeClocks()
    start = Reading(time=0.0, retention=0.0, wall=0.0, monotonic=0.0, boot="a boot")
    clock = FileClock(start, clocks.system())
    last = clock.read()
    for kind, by in steps:
        if kind == "wall":
            clocks.wall += by
        elif kind == "monotonic":
            clocks.monotonic += by
        else:
            clocks.reboot(clocks.wall + by)
            clock = FileClock(last, clocks.system())
        now = clock.read()
        time, retention = passed(last, now)
        assert 0 <= retention <= min(time, MAX_RETENTION_GAP_SECONDS) + 1e-3
        last = now
