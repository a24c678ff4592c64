"""The section with the charts of the last 15 minutes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from statsd_bridge.web.ui.charts import Chart, Points, draw
from statsd_bridge.web.ui.markup import Html, fill, join


def render(traffic: Mapping[str, Any], status: Mapping[str, Any]) -> Html:
    """Return the section; the documents are those of the API."""
    times: Sequence[float] = traffic["times"]
    now = status["now"]
    charts = [draw(each, times, now) for each in _charts(traffic, status)]
    return fill(
        '<section id="traffic" aria-labelledby="traffic-title">'
        '<h2 id="traffic-title">Traffic</h2><div class="charts">{charts}</div>'
        "</section>",
        charts=join(charts),
    )


def _charts(traffic: Mapping[str, Any], status: Mapping[str, Any]) -> list[Chart]:
    # A chart without any counter yet is not in the document.
    lines, samples = traffic.get("lines", {}), traffic.get("samples", {})
    errors = _active(traffic.get("errors", {})) | _active(traffic.get("rejected", {}))
    drops = _active(traffic.get("dropped", {}))
    series, memory = {"series": traffic["series"]}, {"memory": traffic["memory"]}
    return [
        Chart("lines", "Lines a second, by transport", lines),
        Chart("samples", "Samples a second, by type", samples),
        Chart("errors", "Errors and refusals a second", errors),
        Chart("drops", "Drops a second", drops),
        Chart("series", "Series", series, "count", status["series"]["limit"]),
        Chart("memory", "Memory", memory, "size", status["memory"]["limit"] or 0),
    ]


def _active(lines: Mapping[str, Points]) -> dict[str, Points]:
    """Return the lines that are not 0 all the time."""
    return {name: points for name, points in lines.items() if any(points)}
