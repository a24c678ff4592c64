"""
The bounds of native buckets, exactly those of client_golang.

Values on a bound, and next to it, are in the same bucket there and here.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from math import frexp, inf, ldexp, nextafter
from sys import float_info

MIN_TABLE_EXPONENT, MAX_TABLE_EXPONENT = -32, 32
"""
Bounds between these powers of two are in tables, which are the quickest.

They are multiples of 16, the powers of two of one bucket at the lowest resolution.
"""

MIN_TABLE_VALUE, MAX_TABLE_VALUE = 2.0**MIN_TABLE_EXPONENT, 2.0**MAX_TABLE_EXPONENT


def first_index(schema: int) -> int:
    """Return the index of the bucket at position 0, the first one of the tables."""
    if schema > 0:
        return (MIN_TABLE_EXPONENT << schema) + 1
    return (MIN_TABLE_EXPONENT >> -schema) + 1


def bucket_position(value: float, schema: int) -> int:
    """
    Return the position of the bucket of a positive value, its index less the first one.

    It may be negative, and beyond the tables.
    """
    if value == inf:
        return bucket_position(float_info.max, schema) + 1
    fraction, exponent = frexp(value)
    if schema > 0:
        index = bisect_left(fractions(schema), fraction) + ((exponent - 1) << schema)
        return index - first_index(schema)
    if fraction == 0.5:
        exponent -= 1
    # Rounded up.
    return -(-exponent >> -schema) - first_index(schema)


@lru_cache
def fractions(schema: int) -> list[float]:
    """
    Return the bounds from 0.5 to below 1, ascending; none for a schema of 0 or less.

    They are those that client_golang has as literals: made one from the other, so they
    are a few last digits off the powers of two, and a value on a bound is in the same
    bucket there and here.
    """
    if schema <= 0:
        return []
    if schema == 1:
        return [0.5, 0.7071067811865475]
    coarser, factor = fractions(schema - 1), 2.0 ** (2.0**-schema)
    bounds = []
    for bound in coarser:
        bounds += [bound, bound * factor]
    return bounds


def _bound(index: int, schema: int) -> float:
    """Return the upper bound of a bucket, neither too large nor too small a float."""
    if schema > 0:
        exponent, place = index >> schema, index & ((1 << schema) - 1)
        return ldexp(fractions(schema)[place], exponent + 1)
    return ldexp(1.0, index << -schema)


@lru_cache(maxsize=64)
def bucket_table(schema: int, divisor: float) -> list[float]:
    """
    Return, by position, the greatest number whose quotient is still within a bucket.

    Only quotients above MIN_TABLE_VALUE are at their positions.
    """
    first = first_index(schema)
    # As many buckets above 1 as up to 1.
    last = 1 - first
    bounds = [_bound(index, schema) for index in range(first, last + 1)]
    if divisor == 1.0:
        return bounds
    return [greatest_number(bound, divisor) for bound in bounds]


def greatest_number(bound: float, divisor: float) -> float:
    """Return the greatest number whose quotient is at most a bound."""
    number = bound * divisor
    while number / divisor > bound:
        number = nextafter(number, -inf)
    while number < inf and nextafter(number, inf) / divisor <= bound:
        number = nextafter(number, inf)
    return number
