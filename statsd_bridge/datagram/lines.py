"""
Datagrams, or the bytes of a stream, to lines.

    [b"a:1|c\\nb:2|c", b"c:3|c"]  ->  [b"a:1|c", b"b:2|c", b"c:3|c"]
"""

from __future__ import annotations

from collections.abc import Iterable

LONGEST_LINE = 4_095
"""Bytes of a line in a stream, as statsd_exporter has it: 4,096 with the newline."""


def lines(datagrams: Iterable[bytes]) -> list[bytes]:
    """
    Cut datagrams at their newlines.

    As in statsd_exporter k newlines make k + 1 lines: the empty one after the last
    newline is a line, too.  It is counted and says nothing.
    """
    # Joined by a newline, datagrams are cut in one go.
    return b"\n".join(datagrams).split(b"\n")


class Stream:
    """
    Cuts the bytes of one connection into lines; holds at most one unfinished line.

    A line that is too long is counted in `too_long` and left out; the next one goes on.
    """

    def __init__(self) -> None:
        self.too_long = 0
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take what came; returns the lines that it finished."""
        text = self._rest + data
        *ended, rest = text.split(b"\n")
        if ended and self._skipping:
            # The end of a line that is counted already.
            del ended[0]
            self._skipping = False
        whole = [line for line in ended if len(line) <= LONGEST_LINE]
        self.too_long += len(ended) - len(whole)
        if b"\r" in text:
            # Part of the newline, as there: a relay would hand it on as part of a type.
            whole = [line.removesuffix(b"\r") for line in whole]
        if len(rest) > LONGEST_LINE and not self._skipping:
            self.too_long += 1
            self._skipping = True
        self._rest = b"" if self._skipping else rest
        return whole

    def end(self) -> list[bytes]:
        """Give what the other side did not finish: it is a line, too."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []
