"""
What a program leaves in the folder CROCBOT_OUT: the files of its answer.

    1-chart.png  2-report.pdf    sent in the order of their names
    captions.json                {"1-chart.png": "Sales"}
    buttons.json                 [[{"text": "Yes", "data": "yes"}]]

Only regular files in the folder itself count: links, FIFOs, devices and folders are
left out, and no link is followed.  By then the program and all that it has started have
ended.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import os
import stat
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

from crocbot import log
from crocbot.outgoing import MAX_FILES, AgentButtons, AgentFile

BUTTONS = "buttons.json"
CAPTIONS = "captions.json"
SPECIAL = frozenset({BUTTONS, CAPTIONS})
MAX_SPECIAL_BYTES = 64 * 1024
# What is beyond the bound of files is counted, up to this number.
MAX_LISTED = MAX_FILES + 10
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

logger = log.logger(__name__)


class _TooLargeError(ValueError):
    """A file has more bytes than an answer may have."""


class Outbox:
    """The folder of one turn, after its program has ended."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    async def enclosures(self) -> AsyncGenerator[AgentFile | AgentButtons, None]:
        """Yield the files in the order of their names, each read when it is due."""
        try:
            names = await asyncio.to_thread(self._names)
            captions = await asyncio.to_thread(self._special, CAPTIONS)
            buttons = await asyncio.to_thread(self._special, BUTTONS)
        except OSError as error:
            # The program may have removed it.
            logger.warning("files of an answer not read", error=error.strerror)
            return
        for name in names:
            yield await asyncio.to_thread(self._file, name, _caption(captions, name))
        if buttons is not None:
            yield AgentButtons(rows=buttons)

    def _names(self) -> list[str]:
        folder = os.open(self._folder, FLAGS | os.O_DIRECTORY)
        try:
            with os.scandir(folder) as entries:
                found = (entry.name for entry in entries if entry.name not in SPECIAL)
                # However many there are, few are kept in memory.
                return heapq.nsmallest(MAX_LISTED, found)
        finally:
            os.close(folder)

    def _file(self, name: str, caption: str) -> AgentFile:
        # A name need not be UTF-8.
        shown = os.fsencode(name).decode("utf-8", "replace")
        try:
            content = self._read(name, self._max_bytes)
        except _TooLargeError as error:
            return AgentFile(
                name=shown, caption=caption, problem=str(error), too_large=True
            )
        except (OSError, ValueError) as error:
            words = error.strerror if isinstance(error, OSError) else str(error)
            return AgentFile(name=shown, caption=caption, problem=words)
        return AgentFile(content=content, name=shown, caption=caption)

    def _special(self, name: str) -> Any:
        """Return the JSON of a file; None if there is none that can be read."""
        try:
            return json.loads(self._read(name, MAX_SPECIAL_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            logger.warning("file of an answer ignored", file=name, error=str(error))
            return None

    def _read(self, name: str, max_bytes: int) -> bytes:
        """Return a regular file.  Raise OSError, or ValueError for what is none."""
        folder = os.open(self._folder, FLAGS | os.O_DIRECTORY)
        try:
            descriptor = os.open(name, FLAGS, dir_fd=folder)
        finally:
            os.close(folder)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise ValueError("it is not a regular file")
            # The size first: a file may have one that no memory has.
            if found.st_size > max_bytes:
                raise _TooLargeError(f"it has more than {max_bytes} bytes")
            return file.read(max_bytes)


def _caption(captions: object, name: str) -> str:
    found = captions.get(name) if isinstance(captions, Mapping) else None
    return found if isinstance(found, str) else ""
