"""The clocks of the system, and the boot that the monotonic one counts from."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from crocbot.model import Clock

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


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
