"""When a file was written, and how long ago that is, whatever the clock was set to."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class WrittenAt(NamedTuple):
    """
    A time by the wall clock, a Unix time, and by the clock of one boot.

    `boot` identifies the boot, and `boot_seconds` are those since its start, suspended
    ones included.  Without a boot only the wall clock counts.
    """

    unix: float
    boot: str = ""
    boot_seconds: float = 0.0

    @classmethod
    def now(cls) -> Self:
        """Return the time."""
        try:
            boot = BOOT_ID.read_text(encoding="ascii").strip()
            return cls(time.time(), boot, time.clock_gettime(time.CLOCK_BOOTTIME))
        except (OSError, ValueError, AttributeError):
            return cls(time.time())

    def seconds_until(self, other: WrittenAt) -> float:
        """Return the seconds from here to a later time; 0 if a clock was set back."""
        if self.boot and self.boot == other.boot:
            return max(0.0, other.boot_seconds - self.boot_seconds)
        return max(0.0, other.unix - self.unix)

    def as_json(self) -> dict[str, Any]:
        """Return the fields of the header."""
        return {
            "written_at": self.unix,
            "boot": self.boot,
            "boot_seconds": self.boot_seconds,
        }

    @classmethod
    def from_json(cls, header: Mapping[str, Any]) -> Self:
        """Read the fields of a header; raise ValueError or KeyError if one is wrong."""
        unix, boot = header["written_at"], header["boot"]
        seconds = header["boot_seconds"]
        if not (isinstance(boot, str) and _is_time(unix) and _is_time(seconds)):
            raise ValueError("a time in its header is wrong")
        return cls(unix, boot, seconds)


def _is_time(value: object) -> bool:
    return type(value) is float and math.isfinite(value)
