"""
Datagrams, or the bytes of a stream, to lines.

    [b"a:1|c\\nb:2|c", b"c:3|c"]  ->  [b"a:1|c", b"b:2|c", b"c:3|c"]
"""

from __future__ import annotations

from collections.abc import Iterable

MAX_LINE_BYTES = 4_095
"""Length of a line in a stream; like in statsd_exporter, 4,096 with the newline."""


def split_datagrams(datagrams: Iterable[bytes]) -> list[bytes]:
    """
    Split datagrams at their newlines.

    Like in statsd_exporter, n newlines make n + 1 lines: what follows the last newline
    is a line even if it is empty.
    """
    # Joined by newlines, all datagrams are split by one call.
    return b"\n".join(datagrams).split(b"\n")


class LineSplitter:
    """
    Splits the bytes of one connection into lines; keeps at most one unfinished line.

    A line that is too long is counted in `too_long` and dropped, the next one is not.
    """

    is_broken = False
    """Whether nothing can be read any more: never, a newline begins another line."""

    def __init__(self, max_bytes: int = MAX_LINE_BYTES) -> None:
        self.too_long = 0
        self._max_bytes = max_bytes
        self._unfinished = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """Add bytes; return the lines that they finish."""
        text = self._unfinished + data
        *ended, unfinished = text.split(b"\n")
        if ended and self._skipping:
            # The end of a line that was counted before.
            del ended[0]
            self._skipping = False
        lines = [line for line in ended if len(line) <= self._max_bytes]
        self.too_long += len(ended) - len(lines)
        if b"\r" in text:
            # Part of the line end, like in statsd_exporter; a relay would send it on as
            # part of a sample's type.
            lines = [line.removesuffix(b"\r") for line in lines]
        if len(unfinished) > self._max_bytes and not self._skipping:
            self.too_long += 1
            self._skipping = True
        self._unfinished = b"" if self._skipping else unfinished
        return lines

    def end(self) -> list[bytes]:
        """Return the unfinished line, which counts as a line, if there is one."""
        unfinished, self._unfinished = self._unfinished, b""
        self._skipping = False
        return [unfinished] if unfinished else []
