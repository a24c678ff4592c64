"""
What the terminal shows of an answer: on a terminal while it grows, else at its end.

    draft "Cro"  draft "Crocodiles"  message "Crocodiles are old."
         Cro          codiles             are old.\\n

Nothing that an agent writes controls the terminal: escape sequences and other control
characters are shown as text.  Standard output has answers only; all else, also what an
agent prints, goes to standard error.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

PROMPT = "> "
STDIN, STDOUT, STDERR = 0, 1, 2
# C0 without tab and line feed, DEL, C1, and what changes the direction of text.
CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def harmless(text: str) -> str:
    """Return a text with its control characters as escapes, such as \\x1b."""
    return CONTROL.sub(
        lambda match: match.group().encode("unicode_escape").decode(),
        text.replace("\r\n", "\n"),
    )


class Screen:
    """
    Prints answers to `output`, remarks to standard error.

    `closed` means that no more can be printed, `error` why, unless the reader has gone.
    """

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self.interactive = output.isatty() and os.isatty(STDIN)
        self._growing = ""
        self._prompted = False
        self.closed = False
        self.error: OSError | None = None

    def prompt(self) -> None:
        """Ask for a line."""
        if self.interactive and not self._prompted:
            self._write(PROMPT)
            self._prompted = True

    def entered(self) -> None:
        """Note that the person has ended the line of the prompt."""
        self._prompted = False

    def grow(self, text: str) -> None:
        """Show a text that will grow, in place of the last one."""
        if not self.interactive:
            return
        text = harmless(text)
        self._begin_line()
        if text.startswith(self._growing):
            self._write(text[len(self._growing) :])
        else:
            self._write(f"\n{text}")
        self._growing = text

    def message(self, text: str) -> None:
        """Show a whole message, which ends the text that grew."""
        self.grow(text)
        if self.interactive:
            self._write("\n")
        else:
            self._write(f"{harmless(text)}\n")
        self._growing = ""

    def interrupt(self) -> None:
        """End the line of a text that will not grow any more."""
        if self._growing:
            self._write("\n")
            self._growing = ""

    def remark(self, text: str) -> None:
        """Print a line that is no answer."""
        self._begin_line()
        self.interrupt()
        with suppress(OSError, ValueError):
            print(harmless(text), file=sys.stderr, flush=True)

    def _begin_line(self) -> None:
        if self._prompted:
            self._write("\n")
            self._prompted = False

    def _write(self, text: str) -> None:
        if self.closed:
            return
        try:
            self._output.write(text)
            self._output.flush()
        except UnicodeEncodeError:
            self._output.write(text.encode("ascii", "backslashreplace").decode())
            self._output.flush()
        except (OSError, ValueError) as error:
            self.closed = True
            # A reader that has gone is no failure, as in `crocbot chat | head`.
            if isinstance(error, OSError) and error.errno != errno.EPIPE:
                self.error = error


def open_missing_descriptors() -> None:
    """
    Open standard input, output and error that are closed.

    No file may get their numbers; this is done before any is opened.
    """
    for descriptor in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def take_over_stdout() -> TextIO:
    """
    Return standard output for answers only.

    What an agent in this process, or a program that it starts, prints goes to standard
    error from now on.
    """
    nowhere = Path(os.devnull).open("w")  # noqa: SIM115 (until the end)
    # Python has none for a descriptor that was closed.
    sys.stderr = sys.stderr or nowhere
    output = sys.stdout or nowhere
    with suppress(OSError, ValueError):
        if output.fileno() == STDOUT:
            output.flush()
            copy = os.dup(STDOUT)
            os.dup2(STDERR, STDOUT)
            output = os.fdopen(
                copy, "w", encoding=output.encoding, errors=output.errors or "strict"
            )
    sys.stdout = sys.stderr
    return output
