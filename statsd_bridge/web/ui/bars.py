"""Bars as SVG: a part of a total, the buckets of a histogram."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from statsd_bridge.web.ui.markup import EMPTY, Html, fill

WIDTH, HEIGHT = 200, 40
"""Size of the drawing of a histogram, in units of its own."""


def bar(value: float, total: float, marked: float = 0) -> Html:
    """Return a value as a part of a total, as a bar whose last part is marked."""
    width = 100 * value / total if total else 0
    over = 100 * marked / total if total else 0
    end = '<rect class="over" x="{x}" width="{width}" height="10"/>' if over else ""
    return fill(
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none"'
        ' aria-hidden="true"><rect class="part" width="{width}" height="10"/>{end}'
        "</svg>",
        width=f"{width:.1f}",
        end=fill(end, x=f"{width - over:.1f}", width=f"{over:.1f}"),
    )


def buckets(cumulative: Sequence[tuple[object, float]]) -> Html:
    """Return the buckets of a histogram, upper bound and cumulative count, as bars."""
    totals = [0.0, *(count for _, count in cumulative)]
    counts = [count - before for before, count in pairwise(totals)]
    most = max(counts, default=0)
    if not most:
        return EMPTY
    bounds = [bound for bound, _ in cumulative]
    width, scale = WIDTH / len(counts), HEIGHT / most
    bars = [
        f'<rect x="{index * width:.1f}" y="{HEIGHT - count * scale:.1f}"'
        f' width="{max(width - 1, width / 2):.1f}" height="{count * scale:.1f}"/>'
        for index, count in enumerate(counts)
    ]
    return fill(
        '<svg class="buckets" viewBox="0 0 200 40" preserveAspectRatio="none"'
        ' role="img" aria-label="{label}"><title>{label}</title>{bars}</svg>',
        label=f"{len(counts)} buckets from {bounds[0]} to {bounds[-1]},"
        f" most values in the one up to {bounds[counts.index(most)]}",
        bars=Html("".join(bars)),
    )
