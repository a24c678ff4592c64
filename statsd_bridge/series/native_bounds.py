"""
The bounds of native buckets, exactly those of client_golang.

Values on a bound, and next to it, are in the same bucket there and here.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from math import frexp, inf, ldexp, nextafter
from sys import float_info

MIN_TABLE_EXPONENT, MAX_TABLE_EXPONENT = -20, 20
"""Bounds between these powers of two, about a microsecond to 12 days, are in tables."""


def bucket_position(value: float, schema: int) -> int:
    """Return the index of the bucket of a positive value, less one."""
    if value == inf:
        return bucket_position(float_info.max, schema) + 1
    fraction, exponent = frexp(value)
    if schema > 0:
        return bisect_left(fractions(schema), fraction) + ((exponent - 1) << schema) - 1
    if fraction == 0.5:
        exponent -= 1
    return (exponent - 1) >> -schema


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
def bucket_table(schema: int, divisor: float) -> tuple[list[float], int]:
    """
    Return, for the usual buckets, the greatest numbers that are still within them.

    The first of them only bounds the others.  The second result is its position.
    """
    first = _scaled(MIN_TABLE_EXPONENT, schema)
    end = _scaled(MAX_TABLE_EXPONENT, schema)
    bounds = (_bound(index, schema) for index in range(first, end + 1))
    return [greatest_number(bound, divisor) for bound in bounds], first - 1


def _scaled(exponent: int, schema: int) -> int:
    return exponent << schema if schema > 0 else exponent >> -schema


def greatest_number(bound: float, divisor: float) -> float:
    """Return the greatest number whose quotient is at most a bound."""
    number = bound * divisor
    while number / divisor > bound:
        number = nextafter(number, -inf)
    while number < inf and nextafter(number, inf) / divisor <= bound:
        number = nextafter(number, inf)
    return number
