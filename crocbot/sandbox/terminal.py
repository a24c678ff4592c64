"""
What the demo shows: the conversation going by, and now and then a table.

    Ada       -> bot  Good morning!
    bot       -> Ada  Good morning!

Plain lines, in colour only on a terminal whose owner did not set NO_COLOR.  What is
said is made harmless first.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import TextIO

PERSON, BOT, TABLE, GOOD, BAD = "36", "2", "33", "32", "31"
WIDTH = 8
LONGEST = 100


class Terminal:
    """A stream to write lines to; `gone` is called when its reader has left."""

    def __init__(
        self,
        stream: TextIO,
        environment: Mapping[str, str],
        gone: Callable[[], object],
    ) -> None:
        self._stream = stream
        self._coloured = stream.isatty() and not environment.get("NO_COLOR")
        self._gone = gone

    def line(self, text: str = "", colour: str = "") -> None:
        """Write a line."""
        if colour and self._coloured:
            text = f"\x1b[{colour}m{text}\x1b[0m"
        try:
            print(text, file=self._stream, flush=True)
        except UnicodeEncodeError:
            ascii_only = text.encode("ascii", "backslashreplace").decode()
            print(ascii_only, file=self._stream, flush=True)
        except OSError:
            self._gone()

    def lines(self, texts: Iterable[str], colour: str = "") -> None:
        """Write several lines, a little to the right."""
        for text in texts:
            self.line(f"  {text}" if text else "", colour)

    def overhear(self, speaker: str, listener: str, words: str) -> None:
        """Write who said what to whom."""
        colour = BOT if speaker == "bot" else PERSON
        self.line(
            f"{speaker:>{WIDTH}} -> {listener:{WIDTH}}  {harmless(words)}", colour
        )


def harmless(words: str) -> str:
    """One line, without control characters, not too long."""
    one_line = " / ".join(words.splitlines())
    shown = "".join(
        "?" if unicodedata.category(letter) in {"Cc", "Cs"} else letter
        for letter in one_line[: LONGEST + 1]
    )
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
