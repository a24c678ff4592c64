"""
The styles of tags, and the tags in the name of a line.

    na[k=v,j=w]me   na#k=v,j=w   na,k=v,j=w       |#k:v,j:w
      SignalFX       Librato      InfluxDB        DogStatsD, after the type
"""

from __future__ import annotations

from dataclasses import dataclass

from statsd_bridge import syntax


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The tagging styles to parse; the others are ordinary text."""

    dogstatsd: bool = True
    influxdb: bool = True
    librato: bool = True
    signalfx: bool = True


DEFAULT_DIALECT = Dialect()


def parse_name(left: str, dialect: Dialect) -> tuple[str, dict[str, str], int]:
    """
    Separate a name from its tags; return both and the number of malformed tags.

        na[k=v,j=w]me   na#k=v,j=w   na,k=v,j=w
          SignalFX       Librato      InfluxDB
    """
    if dialect.signalfx and ("[" in left or "]" in left):
        start, end = left.find("["), left.find("]")
        # statsd_exporter 0.30.0 crashes if they are in the wrong order.
        if start < 0 or end < start:
            return left, {}, 1
        name, tags = left[:start] + left[end + 1 :], left[start + 1 : end]
        return name, *parse_tags(tags, "=")
    styles = (("#", dialect.librato), (",", dialect.influxdb))
    starts = [left.find(mark) for mark, on in styles if on and mark in left]
    if not starts:
        return left, {}, 0
    first = min(starts)
    return left[:first], *parse_tags(left[first + 1 :], "=")


def parse_tags(tag_list: str, separator: str) -> tuple[dict[str, str], int]:
    """
    Parse a list of tags; return them and the number of malformed ones.

        k=v,j=w     or     k:v,#j:w

    Of tags with the same key, the last one wins.
    """
    tags: dict[str, str] = {}
    errors = 0
    parts = tag_list.split(",")
    if not parts[-1]:
        # An empty list and one trailing comma are not errors.
        parts.pop()
    for part in parts:
        pair = part.removeprefix("#") if separator == ":" else part
        key, found, value = pair.partition(separator)
        if not (key and found and value):
            errors += 1
            continue
        tags[syntax.escape_metric_name(key)] = value
    return tags, errors
