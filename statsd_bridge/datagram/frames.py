"""
Frames of Datadog's clients: the length of a payload, then the payload, which is lines.

    b"\\x0b\\0\\0\\0a:1|c\\nb:2|c"  ->  [b"a:1|c", b"b:2|c"]

The length has four bytes, the lowest first.
"""

from __future__ import annotations

from statsd_bridge.datagram.lines import LineSplitter

LENGTH_BYTES = 4

MAX_FRAME_BYTES = (1 << 24) - 1
"""
Then the last byte of a length is 0, and no line has that in its first four bytes.
"""

MAX_FRAMED_LINE_BYTES = 8_192
"""
Length of a line in a frame: Datadog's clients send lines as long as a frame, and the
agent reads frames of 8,192 bytes.
"""


class FrameSplitter:
    """
    Splits the frames of one connection into lines; keeps at most one unfinished line.

    Nothing is read after a length that is too large: `is_broken` is true then.
    """

    def __init__(self) -> None:
        self.is_broken = False
        self._lines = LineSplitter(MAX_FRAMED_LINE_BYTES)
        self._length = b""
        self._payload_left = 0

    @property
    def too_long(self) -> int:
        """The number of lines that were too long and dropped."""
        return self._lines.too_long

    def feed(self, data: bytes) -> list[bytes]:
        """Add bytes; return the lines that they finish."""
        lines: list[bytes] = []
        position = 0
        while position < len(data) and not self.is_broken:
            if self._payload_left:
                payload = data[position : position + self._payload_left]
                position += len(payload)
                lines += self._add_payload(payload)
            else:
                missing = LENGTH_BYTES - len(self._length)
                self._length += data[position : position + missing]
                position += missing
                self._start_frame()
        return lines

    def end(self) -> list[bytes]:
        """Return no line: the end of the last one is missing."""
        self.is_broken = self.is_broken or bool(self._payload_left or self._length)
        return []

    def _start_frame(self) -> None:
        if len(self._length) == LENGTH_BYTES:
            self._payload_left = int.from_bytes(self._length, "little")
            self.is_broken = self._payload_left > MAX_FRAME_BYTES
            self._length = b""

    def _add_payload(self, payload: bytes) -> list[bytes]:
        self._payload_left -= len(payload)
        lines = self._lines.feed(payload)
        return lines if self._payload_left else lines + self._lines.end()


class StreamSplitter:
    """
    Splits the bytes of one connection into lines, framed or not.

    The first four bytes decide, once: a length has a NUL there, a line has none.  A
    length that is too large is an error, not a line.
    """

    def __init__(self) -> None:
        self._first = b""
        self._splitter: LineSplitter | FrameSplitter | None = None

    @property
    def too_long(self) -> int:
        """The number of lines that were too long and dropped."""
        return self._splitter.too_long if self._splitter else 0

    @property
    def is_broken(self) -> bool:
        """Whether nothing can be read any more."""
        return isinstance(self._splitter, FrameSplitter) and self._splitter.is_broken

    def feed(self, data: bytes) -> list[bytes]:
        """Add bytes; return the lines that they finish."""
        if self._splitter is None:
            self._first += data
            if len(self._first) < LENGTH_BYTES:
                return []
            is_framed = b"\0" in self._first[:LENGTH_BYTES]
            self._splitter = FrameSplitter() if is_framed else LineSplitter()
            data, self._first = self._first, b""
        return self._splitter.feed(data)

    def end(self) -> list[bytes]:
        """Return the unfinished line, if there is one that counts as a line."""
        if self._splitter is None:
            # Less than a length: lines.
            self._splitter = LineSplitter()
            return self._splitter.feed(self._first) + self._splitter.end()
        return self._splitter.end()
