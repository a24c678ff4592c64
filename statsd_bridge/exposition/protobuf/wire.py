"""
Parts of protobuf messages: numbers, fields, labels, times.

The messages are those of Prometheus' client_model (`metrics.proto`); these are the
numbers of the fields that the page has:

    MetricFamily   name 1, help 2, type 3, metric 4
    Metric         label 1, gauge 2, counter 3, summary 4, untyped 5, histogram 7
    LabelPair      name 1, value 2
    Gauge          value 1
    Counter        value 1, created_timestamp 3
    Summary        sample_count 1, sample_sum 2, quantile 3, created_timestamp 4
    Quantile       quantile 1, value 2
    Histogram      sample_count 1, sample_sum 2, bucket 3, created_timestamp 15, and
                   native buckets: native.py
    Bucket         cumulative_count 1, upper_bound 2
    Timestamp      seconds 1, nanos 2

A field begins with a tag: its number times 8, plus 0 for a varint, 1 for a double and 2
for a text or a message, which its length precedes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from struct import Struct
from typing import Final

MAX_UINT64: Final = (1 << 64) - 1

TIME_BYTES: Final = 13
"""Bytes of a time, its length included."""

MAX_KNOWN_TIMES: Final = 4_096
"""Encoded times that are kept, about 200 bytes each."""

MIN_PADDING_BYTES: Final = 6
"""Bytes of the shortest field that `padding` returns."""

double = Struct("<d").pack
"""Encode a float as eight bytes."""

# Above all numbers of fields that a MetricFamily has.
_PADDING_TAG: Final = b"\x7a"
_MAX_SMALL: Final = 4_096
_NANOSECONDS: Final = 1_000_000_000

_find_pairs = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"', re.ASCII | re.DOTALL).findall
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_SMALL: Final = [_varint(number) for number in range(_MAX_SMALL)]


def varint(number: int) -> bytes:
    """Encode a number of 0 or more; one above 64 bits as the greatest of 64 bits."""
    if number < _MAX_SMALL:
        return _SMALL[number]
    return _varint(min(number, MAX_UINT64))


def signed_varint(number: int) -> bytes:
    """Encode a number that may be negative: 0, -1, 1, -2 become 0, 1, 2, 3."""
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def padded_varint(number: int) -> bytes:
    """
    Encode a number below 2**35 in five bytes.

    The format lets a varint be longer than necessary.
    """
    # Seven bits a byte; by a loop it takes three times as long.
    spread = (
        number & 0x7F
        | (number & 0x3F80) << 1
        | (number & 0x1F_C000) << 2
        | (number & 0xFE0_0000) << 3
        | (number & 0x7_F000_0000) << 4
    )
    return (spread | 0x8080_8080).to_bytes(5, "little")


def field(tag: bytes, content: bytes) -> bytes:
    """Encode a text or a message."""
    return tag + varint(len(content)) + content


def padding(size: int) -> bytes:
    """Return a field of a MetricFamily that readers skip, MIN_PADDING_BYTES or more."""
    length = size - MIN_PADDING_BYTES
    return _PADDING_TAG + padded_varint(length) + bytes(length)


@lru_cache(maxsize=MAX_KNOWN_TIMES)
def encode_time(seconds: float) -> bytes:
    """
    Encode a Unix time as a Timestamp after its length, in TIME_BYTES.

    Series that were created together share it.
    """
    whole = int(seconds)
    nanoseconds = int((seconds - whole) * _NANOSECONDS)
    return b"\x0c\x08%b\x10%b" % (padded_varint(whole), padded_varint(nanoseconds))


def encode_labels(label_text: str) -> bytes:
    """Encode labels, printed like `a="1",b="2"`, as fields of a Metric."""
    if "\\" in label_text:
        pairs = [
            (name.encode(), _ESCAPED.sub(_unescape, value).encode())
            for name, value in _find_pairs(label_text)
        ]
        return b"".join([encode_label(*pair) for pair in pairs])
    # a=  1  ,b=  2  and the empty text after the last quotation mark
    parts = label_text.encode().split(b'"')
    starts, values = parts[:-1:2], parts[1::2]
    pieces = values * 2
    # The loop takes most of the time of the first page: 0.2 us a label.
    pieces[::2], pieces[1::2] = map(_label_start, starts, map(len, values)), values
    return b"".join(pieces)


def encode_label(name: bytes, value: bytes) -> bytes:
    """Encode a label."""
    return _label_start(name, len(value)) + value


@lru_cache(maxsize=4_096)
def _label_start(start: bytes, value_length: int) -> bytes:
    """Return what precedes a value; `start` is a name, perhaps with `,` and `=`."""
    name = field(b"\x0a", start.strip(b",=")) + b"\x12" + varint(value_length)
    return b"\x0a" + varint(len(name) + value_length) + name


def _unescape(escaped: re.Match[str]) -> str:
    return "\n" if escaped[1] == "n" else escaped[1]
