"""
The numbers on a metrics page, and a table of the five metrics of the mission.

    crocbot_messages_total{type="text"} 12
    name                   labels       value
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

UPTIME = "crocbot_uptime_seconds"
MESSAGES = "crocbot_messages_total"
ERRORS = "crocbot_errors_total"
LATENCY = "crocbot_telegram_latency_seconds"
RECONNECTS = "crocbot_telegram_reconnects_total"
MISSION = (UPTIME, MESSAGES, ERRORS, LATENCY, RECONNECTS)

MAX_VALUES = 3
"""With more label values than that, a line of the table has only those above 0."""


def read(text: str) -> list[Sample]:
    """Return the samples of a page in the text format; ValueError if it is none."""
    return [
        sample
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def by_label(samples: Iterable[Sample], name: str) -> dict[str, float]:
    """Return the values of one name by their label values, joined with blanks."""
    return {
        " ".join(sample.labels.values()): float(sample.value)
        for sample in samples
        if sample.name == name
    }


def table(samples: Sequence[Sample]) -> Iterator[str]:
    """Yield one line for each metric of the mission."""
    width = max(map(len, MISSION)) + 2
    for name in MISSION:
        values = by_label(samples, name)
        cell = _latency(samples) if name == LATENCY else _values(values)
        yield f"{name:{width}}{cell or 'not there yet'}"


def _values(values: Mapping[str, float]) -> str:
    """
    Return label values and numbers; of many series only those above 0.

        text 12   media 3   command 4          0 in all 24 series, or network warning 1
    """
    if len(values) > MAX_VALUES:
        if not any(values.values()):
            return f"0 in all {len(values)} series"
        values = {label: value for label, value in values.items() if value}
    return "   ".join(
        f"{label} {_number(value)}".strip() for label, value in values.items()
    )


def _latency(samples: Sequence[Sample]) -> str:
    sums = by_label(samples, f"{LATENCY}_sum")
    return "   ".join(
        f"{label} {_number(count)}"
        + (f" (mean {sums.get(label, 0) / count * 1000:.0f} ms)" if count else "")
        for label, count in by_label(samples, f"{LATENCY}_count").items()
    )


def _number(value: float) -> str:
    """Return an integer without a fraction, all else with one decimal."""
    return f"{value:.0f}" if value.is_integer() else f"{value:.1f}"
