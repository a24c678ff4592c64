"""
The time of the state file, which no step of the system's clock changes.

    saved reading --> gap since it --> reading --> saved reading --> ...
        same boot: monotonic clock, also between two processes
        other boot: wall clock, from 0 to MAX_GAP_SECONDS

`time` counts every gap in full, for ages.  `retention` counts a gap as an hour at most:
what is deleted after 48 hours of it is not deleted because a clock was wrong.  Both
begin as the Unix time at which the file was made.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from crocbot.model import Clock

if TYPE_CHECKING:
    from sqlite3 import Connection

MAX_GAP_SECONDS = 7 * 86_400.0
MAX_RETENTION_GAP_SECONDS = 3600.0
COLUMNS = ("time", "retention", "wall", "monotonic", "boot")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

SCHEMA = """
CREATE TABLE IF NOT EXISTS clock (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    time      REAL NOT NULL,
    retention REAL NOT NULL,
    wall      REAL NOT NULL,
    monotonic REAL NOT NULL,
    boot      TEXT NOT NULL
)
"""


def boot_id() -> str:
    """Return an id of the boot that the monotonic clock counts from."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        # Not Linux: unique, so that no other process relies on this clock.
        return str(uuid.uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemClocks:
    """The clocks of the system: `wall` is Unix time."""

    wall: Clock = time.time
    monotonic: Clock = time.monotonic
    boot: str = field(default_factory=boot_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The time of the file, and the system's clocks at that time."""

    time: float
    retention: float
    wall: float
    monotonic: float
    boot: str

    def to_monotonic(self, file_time: float) -> float:
        """Return a time of the file as a time of the monotonic clock."""
        return self.monotonic - (self.time - file_time)


class FileClock:
    """Continues from a reading of this process or an earlier one."""

    def __init__(self, reading: Reading, clocks: SystemClocks) -> None:
        self._reading = reading
        self._clocks = clocks

    def read(self) -> Reading:
        """Return the time of the file now."""
        last, clocks = self._reading, self._clocks
        wall, monotonic = clocks.wall(), clocks.monotonic()
        if last.boot == clocks.boot:
            gap = monotonic - last.monotonic
        else:
            gap = min(wall - last.wall, MAX_GAP_SECONDS)
        gap = max(gap, 0.0)
        self._reading = Reading(
            time=last.time + gap,
            retention=last.retention + min(gap, MAX_RETENTION_GAP_SECONDS),
            wall=wall,
            monotonic=monotonic,
            boot=clocks.boot,
        )
        return self._reading


def load(connection: Connection, clocks: SystemClocks | None = None) -> FileClock:
    """Return the clock of a file, from its last saved reading."""
    clocks = clocks or SystemClocks()
    saved = connection.execute(
        "SELECT time, retention, wall, monotonic, boot FROM clock"
    ).fetchone()
    if saved is None:
        wall = clocks.wall()
        saved = (wall, wall, wall, clocks.monotonic(), clocks.boot)
    return FileClock(Reading(**dict(zip(COLUMNS, saved, strict=True))), clocks)


def save(connection: Connection, reading: Reading) -> None:
    """Store a reading, from which the next process continues."""
    connection.execute(
        "INSERT OR REPLACE INTO clock"
        " VALUES (1, :time, :retention, :wall, :monotonic, :boot)",
        asdict(reading),
    )
