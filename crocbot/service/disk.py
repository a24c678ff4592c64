"""The space on the disk of the state directory, looked at while the gateway runs."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from crocbot import log
from crocbot.events import DiskSpace, EventListener

INTERVAL_SECONDS = 10.0

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskWatch:
    """Emits the space of the disk that has a directory."""

    directory: Path
    events: EventListener

    async def run(self) -> None:
        """Repeat until cancelled; a disk that hangs delays only this."""
        while True:
            try:
                found = await asyncio.to_thread(os.statvfs, self.directory)
            except OSError as error:
                logger.debug("the disk cannot be looked at", error=str(error))
            else:
                block = found.f_frsize
                size, free = found.f_blocks * block, found.f_bavail * block
                self.events.emit(DiskSpace(free=free, size=size))
            await asyncio.sleep(INTERVAL_SECONDS)
