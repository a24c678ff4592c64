"""
The five metrics since the start of the process, for `crocbot status`.

    crocbot_uptime_seconds 93
    crocbot_messages_total{type="text"} 4
    crocbot_telegram_latency_seconds_count{type="text"} 4

They are read from the instruments, so they are also there if nothing is sent.  Of many
latencies between two flushes a sample is kept: their sum is an estimate.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from crocbot.model import Clock
from crocbot.telemetry import catalogue
from crocbot.telemetry.instruments import CounterMetric, Instruments, Metric


class Totals:
    """Reads the five metrics.  `clock` is monotonic."""

    def __init__(self, instruments: Instruments, clock: Clock = time.monotonic) -> None:
        self._instruments = instruments
        self._clock = clock
        self._started_at = clock()

    def read(self) -> Mapping[str, float]:
        """Return the values by series; of errors only those that have happened."""
        errors = {name: n for name, n in self._counters(catalogue.ERRORS) if n}
        return {
            catalogue.UPTIME.name: round(self._clock() - self._started_at, 1),
            **dict(self._counters(catalogue.MESSAGES)),
            **(errors or {catalogue.ERRORS.name: 0}),
            **dict(self._latencies()),
            **dict(self._counters(catalogue.RECONNECTS)),
        }

    def _counters(self, metric: CounterMetric) -> Iterator[tuple[str, float]]:
        for values in metric.label_values():
            counter = self._instruments.counter(metric, *values)
            yield series(metric, values), counter.total

    def _latencies(self) -> Iterator[tuple[str, float]]:
        metric = catalogue.LATENCY
        for values in metric.label_values():
            timer = self._instruments.timer(metric, *values)
            count, seconds = timer.totals()
            yield series(metric, values, "_count"), count
            yield series(metric, values, "_sum"), round(seconds, 3)


def series(metric: Metric, values: tuple[str, ...], suffix: str = "") -> str:
    """Return a series as Prometheus writes it."""
    labels = zip(metric.labels, values, strict=True)
    text = ",".join(f'{label}="{value}"' for label, value in labels)
    return f"{metric.name}{suffix}{{{text}}}"
