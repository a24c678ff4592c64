"""
What the demo prints: the messages, and now and then a table.

    Ada       -> bot  Good morning!
    bot       -> Ada  Good morning!

Plain lines, with colour only on a terminal and without NO_COLOR.  Control characters in
messages are replaced.
"""

from __future__ import annotations

import asyncio
import os
import unicodedata
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TextIO

USER, BOT, TABLE, GOOD, BAD = "36", "2", "33", "32", "31"
NAME_WIDTH = 8
MAX_MESSAGE_CHARS = 100


class Terminal:
    """A stream to print lines to; sets `stop` when its reader has closed it."""

    def __init__(
        self, stream: TextIO, environment: Mapping[str, str], stop: asyncio.Event
    ) -> None:
        self._stream = stream
        self._coloured = stream.isatty() and not environment.get("NO_COLOR")
        self._stop = stop

    def line(self, text: str = "", colour: str = "") -> None:
        """Print a line."""
        if colour and self._coloured:
            text = f"\x1b[{colour}m{text}\x1b[0m"
        try:
            print(text, file=self._stream, flush=True)
        except UnicodeEncodeError:
            ascii_only = text.encode("ascii", "backslashreplace").decode()
            print(ascii_only, file=self._stream, flush=True)
        except OSError:
            self._discard()
            self._stop.set()

    def lines(self, texts: Iterable[str], colour: str = "") -> None:
        """Print several lines, indented."""
        for text in texts:
            self.line(f"  {text}" if text else "", colour)

    def message(self, sender: str, recipient: str, text: str) -> None:
        """Print who wrote what to whom."""
        colour = BOT if sender == "bot" else USER
        names = f"{sender:>{NAME_WIDTH}} -> {recipient:{NAME_WIDTH}}"
        self.line(f"{names}  {printable(text)}", colour)

    def _discard(self) -> None:
        """Discard all further output, as in `crocbot demo | head`."""
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def printable(text: str) -> str:
    """Return a text as one line, without control characters, cut if too long."""
    one_line = " / ".join(text.splitlines())
    shown = "".join(
        "?" if unicodedata.category(character) in {"Cc", "Cs"} else character
        for character in one_line[: MAX_MESSAGE_CHARS + 1]
    )
    if len(shown) <= MAX_MESSAGE_CHARS:
        return shown
    return shown[: MAX_MESSAGE_CHARS - 1] + "…"
