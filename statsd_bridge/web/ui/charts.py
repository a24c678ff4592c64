"""
Charts of the last 15 minutes as SVG.

An SVG scales with its box and takes its colors from the style sheet, so it works
without JavaScript, on a phone and in the dark.  Classes `c0` to `c5` are the colors of
lines.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from statsd_bridge.web.ui import numbers
from statsd_bridge.web.ui.markup import Html, code, fill, html, join

WINDOW_SECONDS: Final = 900
HEIGHT: Final = 1000
"""Height of the drawing of a chart; its width is WINDOW_SECONDS."""
MAX_LINES: Final = 5
"""Lines of a chart; the smaller ones are added up."""
OTHER: Final = "other"

Points = Sequence[float]
"""The values at each time."""


class Chart(NamedTuple):
    """A chart of lines by name; `format` writes its numbers, `ceiling` is a limit."""

    key: str
    title: str
    lines: Mapping[str, Points]
    format: str = "rate"
    ceiling: float = 0

    def top(self, most: float) -> float:
        """Return the number that the scale ends with."""
        if self.format != "size":
            return nice_top(most)
        unit = 1024.0 ** max(0, int(math.log(max(most, 1), 1024)))
        return nice_top(most / unit) * unit

    def text(self, value: float) -> str:
        """Return a value of the chart as text."""
        formats = {"rate": numbers.rate, "count": numbers.number, "size": numbers.size}
        return formats[self.format](value)


def draw(chart: Chart, times: Sequence[float], now: float) -> Html:
    """Return a chart as a figure: its title, the drawing and a legend with values."""
    lines = _largest(chart.lines)
    top = chart.top(max((max(each, default=0) for each in lines.values()), default=0))
    start = now - WINDOW_SECONDS
    xs = [f"{max(0, time - start):.0f}" for time in times]
    return fill(
        '<figure class="chart" data-live="chart-{key}" data-top="{top}"'
        ' data-format="{format}"><figcaption>{title}</figcaption>'
        '<div class="plot"><span class="top">{top_text}</span>'
        '<svg viewBox="0 0 900 1000" preserveAspectRatio="none" role="img"'
        ' aria-label="{label}">{grid}{lines}</svg></div>'
        '<div class="axis" aria-hidden="true"><span>15 min ago</span>'
        '<span class="readout"></span><span>now</span></div>{legend}</figure>',
        key=chart.key,
        top=top,
        format=chart.format,
        title=_title(chart, lines),
        top_text=chart.text(top),
        label=_description(chart, lines),
        grid=_GRID,
        lines=join(_drawn(lines, xs, top)),
        legend=_legend(chart, lines),
    )


_GRID: Final = Html(
    '<path class="grid" d="M0 0H900M0 500H900M0 1000H900M300 0V1000M600 0V1000"/>'
)


def nice_top(value: float) -> float:
    """Return the number that a scale ends with: 1, 2 or 5 times a power of ten."""
    if value <= 0 or not math.isfinite(value):
        return 1
    power = 10.0 ** math.floor(math.log10(value))
    top: float = next(each * power for each in (1, 2, 5, 10) if each * power >= value)
    return top


def _largest(lines: Mapping[str, Points]) -> dict[str, Points]:
    """Return the lines with the largest sums; the others are added up."""
    if len(lines) <= MAX_LINES + 1:
        return dict(lines)
    order = sorted(lines, key=lambda name: -sum(lines[name]))
    shown = {name: lines[name] for name in lines if name in order[:MAX_LINES]}
    others = [lines[name] for name in order[MAX_LINES:]]
    total = [sum(each) for each in zip(*others, strict=True)]
    return {**shown, OTHER: total}


def _title(chart: Chart, lines: Mapping[str, Points]) -> Html:
    if len(lines) != 1 or not chart.ceiling:
        return html(chart.title)
    (points,) = lines.values()
    if not points:
        return html(chart.title)
    now = _last(points)
    return fill(
        "{title} <small>of {ceiling}, {share}</small>",
        title=chart.title,
        ceiling=chart.text(chart.ceiling),
        share=numbers.percent(now, chart.ceiling),
    )


def _drawn(
    lines: Mapping[str, Points], xs: Sequence[str], top: float
) -> Iterator[Html]:
    if not xs:
        return
    scale = HEIGHT / top
    for index, points in enumerate(lines.values()):
        # Joined as text: a page has thousands of points.
        ys = [HEIGHT - int(each * scale) for each in points]
        path = " ".join([f"{x},{y}" for x, y in zip(xs, ys, strict=True)])
        if len(xs) == 1:
            # A line of one point would not be visible.
            path += f" {WINDOW_SECONDS},{ys[0]}"
        if len(lines) == 1:
            area = f"{xs[0]},{HEIGHT} {path} {xs[-1]},{HEIGHT}"
            yield Html(f'<polygon class="area" points="{area}"/>')
        yield Html(
            f'<polyline class="line c{index}" data-line="{index}" points="{path}"/>'
        )


def _legend(chart: Chart, lines: Mapping[str, Points]) -> Html:
    if not lines:
        return Html('<p class="none">none</p>')
    if not any(lines.values()):
        return Html('<p class="none">no value yet: the first comes after 5 s</p>')
    items = [
        fill(
            '<li><svg class="key" viewBox="0 0 10 10" aria-hidden="true">'
            '<rect class="c{index}" width="10" height="10"/></svg>{name}'
            " <b>{now}</b> <small>max {most}</small></li>",
            index=index,
            name=code(name),
            now=chart.text(_last(points)),
            most=chart.text(max(points, default=0)),
        )
        for index, (name, points) in enumerate(lines.items())
    ]
    return fill('<ul class="legend">{items}</ul>', items=join(items))


def _last(points: Points) -> float:
    return points[-1] if points else 0


def _description(chart: Chart, lines: Mapping[str, Points]) -> str:
    values = [
        f"{name} {chart.text(_last(points))}"
        for name, points in lines.items()
        if points
    ]
    return f"{chart.title}, the last 15 minutes; now: {', '.join(values) or 'none'}"
