"""
The keys of native histograms: how wide the buckets are, and how many there may be.

The factor is the growth from one bucket to the next at most: 1.1 lets a quantile be off
by 10 %.  It chooses the schema, which has 2**schema buckets per power of two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from statsd_bridge.document.section import Section
from statsd_bridge.model import MAX_NATIVE_SCHEMA, MIN_NATIVE_SCHEMA, NativeOptions

FACTOR_KEY = "native_histogram_bucket_factor"
MAX_BUCKETS_KEY = "native_histogram_max_buckets"

MAX_NATIVE_BUCKETS = 10_000
"""
A larger number of buckets means this one.  A series is encoded at once, which takes
5 ms with as many buckets (timeit), and halved at once.
"""


@dataclass(frozen=True, slots=True)
class NativeKeys:
    """What a section sets, at first the built-in defaults; 0: not set."""

    factor: float = 1.1
    max_buckets: int = 256

    def override(self, keys: NativeKeys) -> NativeKeys:
        """Return these keys with those that another section sets."""
        return NativeKeys(
            keys.factor or self.factor, keys.max_buckets or self.max_buckets
        )

    def options(self) -> NativeOptions | None:
        """Return the options of a series; None for a factor of 1 or less."""
        if self.factor <= 1:
            return None
        max_buckets = min(self.max_buckets, MAX_NATIVE_BUCKETS)
        return NativeOptions(pick_schema(self.factor), max_buckets)


DEFAULT_NATIVE = NativeKeys()
NOT_SET = NativeKeys(0.0, 0)


def read_native(section: Section) -> NativeKeys:
    """Read the keys; raise ConfigError if one is out of range."""
    factor = section.number(FACTOR_KEY) or 0.0
    # NaN is not at least 0 either.
    if not factor >= 0:
        problem = f"{factor} is not a factor"
        hint = "write a number above 1 such as 1.1, or 1 for no native buckets"
        raise section.error(FACTOR_KEY, f"{problem}; {hint}")
    return NativeKeys(factor, section.count(MAX_BUCKETS_KEY))


def pick_schema(factor: float) -> int:
    """Return the coarsest schema whose buckets grow by at most a factor above 1."""
    if factor == math.inf:
        return MIN_NATIVE_SCHEMA
    exponent = math.floor(_log2(_log2(factor)))
    return max(MIN_NATIVE_SCHEMA, min(-exponent, MAX_NATIVE_SCHEMA))


def _log2(number: float) -> float:
    """
    Return the logarithm to base 2 as Go computes it.

    `math.log2` rounds better, and would choose another schema next to a power of two.
    """
    fraction, exponent = math.frexp(number)
    if fraction == 0.5:
        return exponent - 1
    return math.log(fraction) * (1 / math.log(2)) + exponent
