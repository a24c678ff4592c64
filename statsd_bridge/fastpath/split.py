"""
The lines of a batch, in groups or columns, by a few calls that loop in C.

Groups, where few names make up many lines.  Lines are only split at their colon, and
the rest is parsed for a whole group at once:

    api.hits:3|c
    api.time:12.5|ms        api.hits  :3|c  :1|c           ->  suffix c    3 1
    api.hits:1|c       ->   api.time  :12.5|ms  :9.25|ms   ->  suffix ms   12.5 9.25
    api.time:9.25|ms

All stages together take 211 ns a line by groups and 272 by columns
(benchmarks/README.md, CPU time of a line, by stage), but a group costs 3 us, so groups
only pay if they are large.  It is all or nothing: a batch with a line that is not
`name:number|suffix`, or with two suffixes for one name, is split into columns.

Columns, for all other batches:

    api.hits:3|c                     names          values   suffixes
    api.time:12.5|ms|@0.1      ->    api.hits       3        c
                                     api.time       12.5     ms|@0.1

The name ends at the first colon, the value at the first bar after that; tags belong to
either name or suffix.  Only line.py knows what they mean.  A line without colon or bar,
and a value that is not a plain number, is marked, for the plain path to process.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import NamedTuple

from statsd_bridge import syntax

MIN_LINES_PER_GROUP = 25
"""Lines in a group, on average, from which on groups cost less than columns."""

_DELIMITERS = b":|\n"
_ALL_BUT_DELIMITERS = bytes(set(range(256)) - set(_DELIMITERS))
_DELIMITERS_TO_NEWLINES = bytes.maketrans(b":|", b"\n\n")

_DIGITS = b"0123456789."
_EXPONENT = b"eE+-"


class Group(NamedTuple):
    """All lines with one name: the suffix that they share, their numbers in order."""

    name: bytes
    suffix: bytes
    numbers: Sequence[float]


def group_lines(data: bytes) -> list[Group] | None:
    """Group lines that are joined by newlines; None if they are not that uniform."""
    # With a newline before each colon, names and remainders alternate.  A remainder
    # keeps its colon, which `_parse_group` checks.
    flat = data.replace(b":", b"\n:").split(b"\n")
    if len(flat) % 2:
        return None
    remainders: defaultdict[bytes, list[bytes]] = defaultdict(list)
    parts = iter(flat)
    # Both arguments draw from `parts`: a name, whose list is looked up, and a
    # remainder.
    deque(map(list.append, map(remainders.__getitem__, parts), parts), maxlen=0)
    if len(flat) < 2 * MIN_LINES_PER_GROUP * len(remainders):
        return None
    groups = []
    for name, each in remainders.items():
        parsed = _parse_group(each)
        if parsed is None or b":" in name:
            return None
        groups.append(Group(name, *parsed))
    return groups


def _parse_group(remainders: list[bytes]) -> tuple[bytes, Sequence[float]] | None:
    """Parse many `:number|suffix` into their common suffix and the numbers."""
    first, count = remainders[0], len(remainders)
    value, bar, suffix = first.partition(b"|")
    if not bar:
        return None
    if first == remainders[-1] and remainders.count(first) == count:
        # Most counters are only ever incremented by 1.
        is_plain = value[:1] == b":" and not value[1:].strip(_DIGITS)
        number = syntax.parse_floats([value[1:]]) if is_plain else None
        return (suffix, number * count) if number is not None else None
    joined = b"".join(remainders)
    if len(joined) < count * (len(suffix) + 3):
        # A suffix that is longer than others; it must not be multiplied.
        return None
    # :12.5|ms:9.25|ms  -->  :|ms:|ms
    expected = b":|" + suffix.translate(None, _DIGITS)
    if joined.translate(None, _DIGITS) != expected * count:
        return None
    # As many values as lines, each before the whole suffix, so all else is in suffixes.
    values = (joined + b":").split(b"|%b:" % suffix)
    if len(values) != count + 1:
        return None
    values[0] = values[0][1:]
    numbers = syntax.parse_floats(values[:-1])
    return (suffix, numbers) if numbers is not None else None


class Columns(NamedTuple):
    """
    The parts of all lines that are not empty, in the order of the lines.

    A line without colon or bar is in `names` as a whole, with an empty value and None
    as suffix.  `empty` is the number of empty lines.
    """

    names: Sequence[bytes]
    values: Sequence[bytes]
    suffixes: Sequence[bytes | None]
    empty: int = 0

    def line(self, index: int) -> bytes:
        """Return a whole line."""
        name, value = self.names[index], self.values[index]
        suffix = self.suffixes[index]
        return name if suffix is None else b"%b:%b|%b" % (name, value, suffix)


def split_lines(data: bytes) -> Columns:
    """Split lines that are joined by newlines."""
    data += b"\n"
    columns, empty = _split_uniform(data), 0
    if columns is None and (b"\n\n" in data or data.startswith(b"\n")):
        # Some clients end each datagram with a newline, which makes an empty line.
        before = data.count(b"\n")
        data = _without_empty_lines(data)
        empty = before - data.count(b"\n")
        columns = _split_uniform(data)
    if columns is None:
        columns = _split_each(data)
    return columns._replace(empty=empty) if empty else columns


def _split_uniform(data: bytes) -> Columns | None:
    """
    Split lines that all are `name:value|suffix`, as they nearly always are.

    Two translates and one split of all lines are C loops over the batch, while to split
    each line is one of Python (benchmarks/README.md, CPU time of a line, by stage).
    """
    delimiters = data.translate(None, _ALL_BUT_DELIMITERS)
    if delimiters != b":|\n" * (len(delimiters) // 3):
        return None
    flat = data.translate(_DELIMITERS_TO_NEWLINES).split(b"\n")
    # Nothing comes after the last newline.
    flat.pop()
    return Columns(flat[0::3], flat[1::3], flat[2::3])


def _split_each(data: bytes) -> Columns:
    """
    Split lines that may have tags.

    190 ns a line; with maps of bytes.partition, which make more objects, 240 (timeit).
    """
    lines = data.split(b"\n")
    lines.pop()
    names: list[bytes] = []
    values: list[bytes] = []
    suffixes: list[bytes | None] = []
    for line in lines:
        name, _, rest = line.partition(b":")
        value, bar, suffix = rest.partition(b"|")
        if bar:
            names.append(name)
            values.append(value)
            suffixes.append(suffix)
        else:
            names.append(line)
            values.append(b"")
            suffixes.append(None)
    return Columns(names, values, suffixes)


def _without_empty_lines(data: bytes) -> bytes:
    """Squeeze newlines, in a time that grows with the length; the last one stays."""
    while b"\n\n" in data:
        data = data.replace(b"\n\n", b"\n")
    return data.removeprefix(b"\n")


def parse_values(values: Sequence[bytes]) -> tuple[list[float], list[int]]:
    """
    Parse a column of values.

    Return the numbers, and the indexes of values that are not plain numbers or have a
    sign, which makes a gauge's sample relative.
    """
    joined = b"\n" + b"\n".join(values)
    others = joined.translate(None, _DIGITS + b"\n")
    # float() also accepts spaces, words and underscores.  A sign after the first
    # character is an exponent's.
    if not others or not (
        others.strip(_EXPONENT) or b"\n-" in joined or b"\n+" in joined
    ):
        numbers = syntax.parse_floats(values)
        if numbers is not None:
            return numbers, []
    each = [
        None if value[:1] in (b"-", b"+") else parse_value(value) for value in values
    ]
    unusual = [index for index, number in enumerate(each) if number is None]
    return [number or 0.0 for number in each], unusual


def parse_value(value: bytes) -> float | None:
    """Parse a value, which may have a sign; None if it is not a plain number."""
    if not value or value.strip(_DIGITS + _EXPONENT):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
