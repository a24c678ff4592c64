"""Options of a metric as JSON, each once in a file."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from statsd_bridge.model import (
    MAX_NATIVE_SCHEMA,
    MIN_NATIVE_SCHEMA,
    MetricOptions,
    MetricType,
    NativeOptions,
    Quantile,
)

MIN_WINDOW_SECONDS = 1e-6
"""Less than any mapping file may have."""

MAX_AGE_BUCKETS = 1 << 32
"""More than any mapping file may have."""


def options_to_json(options: MetricOptions) -> list[Any]:
    """Return options as a list of JSON values."""
    native = options.native
    return [
        str(options.type),
        options.help,
        options.ttl,
        options.scale,
        list(options.buckets),
        None if native is None else [native.schema, native.max_buckets],
        [[each.quantile, each.error] for each in options.quantiles],
        options.max_age,
        options.age_buckets,
    ]


def options_from_json(fields: list[Any]) -> MetricOptions:
    """Return the options; raise ValueError or TypeError if one is not possible."""
    type_, help_, ttl, scale, buckets, native, quantiles, max_age, age_buckets = fields
    help_.encode()
    options = MetricOptions(
        MetricType(type_),
        help_,
        ttl=_number(ttl),
        scale=None if scale is None else _number(scale),
        buckets=tuple(map(_number, buckets)),
        native=None if native is None else NativeOptions(*map(_whole, native)),
        quantiles=tuple(Quantile(*map(_number, each)) for each in quantiles),
        max_age=_number(max_age),
        age_buckets=_whole(age_buckets),
    )
    if not _is_possible(options):
        raise ValueError("options of a metric are not possible")
    return options


def _is_possible(options: MetricOptions) -> bool:
    native, bounds = options.native, options.buckets
    return (
        0 <= options.ttl < math.inf
        and MIN_WINDOW_SECONDS <= options.max_age < math.inf
        and 0 < options.age_buckets <= MAX_AGE_BUCKETS
        and all(low < high for low, high in pairwise((-math.inf, *bounds, math.inf)))
        and all(0 <= q.quantile <= 1 and 0 <= q.error <= 1 for q in options.quantiles)
        and (
            native is None
            or (
                MIN_NATIVE_SCHEMA <= native.schema <= MAX_NATIVE_SCHEMA
                and native.max_buckets >= 0
            )
        )
    )


def _number(value: object) -> float:
    if type(value) is not float and type(value) is not int:
        raise ValueError("an option of a metric is not a number")
    return value


def _whole(value: object) -> int:
    if type(value) is not int:
        raise ValueError("an option of a metric is not a whole number")
    return value
