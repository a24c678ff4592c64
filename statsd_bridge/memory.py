"""
The memory budget: estimated bytes of everything that senders make the bridge remember.

    --statsd.max-memory
      |-- series         series, names, label names, members of sets, sketches
      |-- buffers        lines that the fast path knows, numbers that wait there
      |-- matches        the mapping cache
      |-- encoded        what pages keep of series
      '-- diagnostics    recent unmapped names, failed lines, names of refused series

The code that remembers something new charges its size to one of these accounts, and
releases the same size with it.  The sizes are estimates for CPython on 64-bit systems;
`python -m benchmarks.memory` compares them with the resident memory of a process.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from sys import getsizeof
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from statsd_bridge.model import MetricOptions

MEBIBYTE: Final = 1024 * 1024

MAX_BUFFERS_BYTES: Final = 192 * MEBIBYTE
"""A million names of 50 bytes that are known, and more than their buffers need."""

MAX_MATCHES_BYTES: Final = 32 * MEBIBYTE
MAX_DIAGNOSTICS_BYTES: Final = 4 * MEBIBYTE
"""More than these two ever need."""

MAX_ENCODED_BYTES: Final = 128 * MEBIBYTE
"""Enough for a million series; without it a page in protobuf takes longer."""

NO_LIMIT: Final = sys.maxsize

# The growth of the resident memory of CPython 3.11 to 3.13 on 64-bit Linux, divided by
# the number of objects.
SERIES_BYTES: Final = {
    "counter": 190,
    "gauge": 190,
    "histogram": 220,
    "summary": 740,
    "set": 460,
}
"""An empty series in a large family, without its labels."""

BUCKET_BYTES: Final = 24
"""A bucket of a histogram: 8 bytes while its count is small, 40 when it is large."""

QUANTILE_BYTES: Final = 40
"""A quantile of a summary, which is kept between two pages."""

NATIVE_BYTES: Final = 320
"""The native buckets of a histogram, besides their pages."""

NATIVE_PAGE_BYTES: Final = 240
"""Counts of 16 native buckets."""

EXPIRY_BYTES: Final = 240
"""The times of a series with a ttl, and its entry in the expiry heap."""

FAMILY_BYTES: Final = 150
"""
A family, without the texts of its name and label names.

The place that its first series needs in no table is left out.
"""

TABLE_BYTES: Final = 250
"""The table that a family gets with its second series."""

LABEL_NAMES_BYTES: Final = 250
"""A further combination of label names, without their text."""

LABEL_NAME_BYTES: Final = 8
"""The place of a label name in its combination."""


class Account:
    """Bytes that are charged, at most `limit`."""

    __slots__ = ("denied", "limit", "used")

    def __init__(self, limit: int = NO_LIMIT) -> None:
        self.limit = limit
        self.used = 0
        self.denied = 0
        """How often something that exists could not grow."""

    def has_room(self, size: int) -> bool:
        """Return whether `size` bytes more are within the limit."""
        return self.used + size <= self.limit

    def reserve(self, size: int) -> bool:
        """Charge bytes and return True, or return False if they exceed the limit."""
        if self.used + size > self.limit:
            return False
        self.used += size
        return True

    def charge(self, size: int) -> None:
        """Charge bytes that `has_room` allowed, or that are small and bounded."""
        self.used += size

    def release(self, size: int) -> None:
        """Give back bytes that were charged."""
        self.used -= size


class MemoryBudget:
    """
    The accounts of one bridge; `limit` is in bytes, 0 for none.

    Each has a share of its own: caches never displace a series, and a bridge whose
    series have used up their share is as quick as before, and explains what it refuses.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        share = _share(limit, 14, MAX_BUFFERS_BYTES)
        # Bounded without a limit, too.
        self.buffers = Account(min(share, MAX_BUFFERS_BYTES))
        self.matches = Account(_share(limit, 32, MAX_MATCHES_BYTES))
        self.diagnostics = Account(_share(limit, 64, MAX_DIAGNOSTICS_BYTES))
        share = _share(limit, 32, MAX_ENCODED_BYTES)
        self.encoded = Account(min(share, MAX_ENCODED_BYTES))
        others = (self.buffers, self.matches, self.diagnostics, self.encoded)
        rest = limit - sum(each.limit for each in others)
        self.series = Account(rest if limit else NO_LIMIT)
        self.accounts = (self.series, *others)

    @property
    def used(self) -> int:
        """Bytes charged to all accounts."""
        return sum(each.used for each in self.accounts)


def _share(limit: int, divisor: int, maximum: int) -> int:
    return min(limit // divisor, maximum) if limit else NO_LIMIT


def series_size(options: MetricOptions, label_text: str = "") -> int:
    """Return the size of a series without a ttl, members and values."""
    size = SERIES_BYTES[options.type]
    if options.type == "histogram":
        size += BUCKET_BYTES * (len(options.buckets) + 1)
    elif options.type == "summary":
        size += QUANTILE_BYTES * len(options.quantiles)
    return size + label_text_size(label_text)


def label_text_size(label_text: str) -> int:
    """Return the size of the text of labels; all series without labels share theirs."""
    return getsizeof(label_text) if label_text else 0


def family_size(name: str, names: Iterable[str]) -> int:
    """Return the size of a family without series; `names` are the first label names."""
    # A name is ASCII, and FAMILY_BYTES includes an empty one: getsizeof takes 0.1 us.
    return FAMILY_BYTES + len(name) + _names_size(names)


def label_names_size(names: Iterable[str]) -> int:
    """Return the size of a further combination of label names in a family."""
    return LABEL_NAMES_BYTES + _names_size(names)


def _names_size(names: Iterable[str]) -> int:
    return sum([LABEL_NAME_BYTES + getsizeof(name) for name in names])
