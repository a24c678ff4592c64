"""
Native buckets of a histogram as fields of a protobuf message, like client_golang.

    Histogram    schema 5, zero_threshold 6, zero_count 7, negative_span 9,
                 negative_delta 10, positive_span 12, positive_delta 13
    BucketSpan   offset 1, length 2

A span is a run of buckets; its offset is that of the first bucket, or the gap to the
span before.  Gaps of one or two buckets are filled with empty ones:

    index    3 4     7               20        offset 3 length 5, offset 12 length 1
    count    5 2 . . 6 ...           1         deltas 5 -3 -2 0 6 -5
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import sub
from typing import Protocol

from statsd_bridge.exposition.protobuf.wire import (
    double,
    field,
    signed_varint,
    varint,
)

MAX_FILLED_GAP = 2
"""Empty buckets between two that are in one span."""

MAX_DELTAS = 10_000
"""Encoded deltas that are kept, about 140 bytes each."""

# Without it a reader would take such a histogram for a classic one.
_NO_OP_SPAN = field(b"\x62", b"\x08\x00\x10\x00")

Buckets = Sequence[tuple[int, int]]
"""Index and count, ascending by index, none empty."""


class NativeBuckets(Protocol):
    """The native buckets of a histogram."""

    schema: int
    zero_count: int

    @property
    def zero_threshold(self) -> float:
        """The greatest distance from 0 of a value in the zero bucket."""

    def positive_buckets(self) -> Buckets:
        """Return the buckets of positive values."""

    def negative_buckets(self) -> Buckets:
        """Return the buckets of negative values."""


def encode_native(native: NativeBuckets) -> bytes:
    """Encode the fields of native buckets, besides the count and the sum."""
    zero = b"\x31" + double(native.zero_threshold) + b"\x38" + varint(native.zero_count)
    negative = _encode_buckets(native.negative_buckets(), b"\x4a", b"\x52")
    positive = _encode_buckets(native.positive_buckets(), b"\x62", b"\x6a")
    if not (negative or positive or native.zero_count or native.zero_threshold):
        positive = _NO_OP_SPAN
    return b"\x28" + signed_varint(native.schema) + zero + negative + positive


def _encode_buckets(buckets: Buckets, span_tag: bytes, delta_tag: bytes) -> bytes:
    if not buckets:
        return b""
    spans: list[bytes] = []
    # With the empty ones that are filled in.
    counts: list[int] = []
    offset = start = end = buckets[0][0]
    for index, count in buckets:
        if index != end:
            gap = index - end
            if gap > MAX_FILLED_GAP:
                spans.append(_encode_span(span_tag, offset, end - start))
                offset, start = gap, index
            else:
                counts.extend([0] * gap)
        counts.append(count)
        end = index + 1
    spans.append(_encode_span(span_tag, offset, end - start))
    deltas = map(sub, counts, chain((0,), counts))
    return b"".join(spans) + field(delta_tag, b"".join(map(_find_delta, deltas)))


class _Deltas(dict[int, bytes]):
    """Encoded deltas; the loop over buckets takes most of the time of a page."""

    __slots__ = ()

    def __missing__(self, delta: int) -> bytes:
        encoded = signed_varint(delta)
        if len(self) < MAX_DELTAS:
            self[delta] = encoded
        return encoded


_find_delta = _Deltas().__getitem__


def _encode_span(tag: bytes, offset: int, length: int) -> bytes:
    return field(tag, b"\x08" + signed_varint(offset) + b"\x10" + varint(length))
