"""
The lines of a batch, grouped by name, where few names make up many lines.

    api.hits:3|c
    api.time:12.5|ms        api.hits  :3|c  :1|c           ->  suffix c    3 1
    api.hits:1|c       ->   api.time  :12.5|ms  :9.25|ms   ->  suffix ms   12.5 9.25
    api.time:9.25|ms

Lines are only split at their colon, and the rest is parsed for a whole group at once.
All stages together take 211 ns a line by groups and 272 by columns
(benchmarks/README.md, CPU time of a line, by stage), but a group costs 3 us, so groups
only pay if they are large.  It is all or nothing: a batch with a line that is not
`name:number|suffix`, or with two suffixes for one name, is left to split.py.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from typing import NamedTuple

from statsd_bridge import syntax

MIN_LINES_PER_GROUP = 25
"""Lines in a group, on average, from which on groups cost less than columns."""

_DIGITS = b"0123456789."


class Group(NamedTuple):
    """All lines with one name: the suffix that they share, their numbers in order."""

    name: bytes
    suffix: bytes
    numbers: Sequence[float]


def group_lines(data: bytes) -> list[Group] | None:
    """Group lines that are joined by newlines; None if they are not that uniform."""
    # With a newline before each colon, names and remainders alternate.  A remainder
    # keeps its colon, which `_parse` checks.
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
        parsed = _parse(each)
        if parsed is None or b":" in name:
            return None
        groups.append(Group(name, *parsed))
    return groups


def _parse(remainders: list[bytes]) -> tuple[bytes, Sequence[float]] | None:
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
