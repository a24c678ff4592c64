"""The rows about telemetry itself: what became of the lines and values."""

from __future__ import annotations

from enum import StrEnum

from crocbot.telemetry.catalogue.metric import Metric, Type, words


class Loss(StrEnum):
    """Why a line did not reach the receiver."""

    REFUSED = "refused"
    BUFFER_FULL = "buffer_full"
    UNREACHABLE = "unreachable"
    OTHER = "other"


class Drop(StrEnum):
    """Why something that was reported became no value of a metric."""

    INVALID = "invalid"
    UNKNOWN = "unknown"
    OVERFLOW = "overflow"


LINES_SENT = Metric(
    "crocbot.emitter.lines_sent",
    "crocbot_emitter_lines_sent",
    Type.GAUGE,
    "lines",
    "Running total of statsd lines handed to the kernel, told with every flush.",
    "increase(crocbot_emitter_lines_sent[5m])",
    source="emitter",
)
LINES_LOST = Metric(
    "crocbot.emitter.lines_lost",
    "crocbot_emitter_lines_lost",
    Type.GAUGE,
    "lines",
    "Running total of statsd lines that nobody got; the refused had been sent before.",
    "sum by (reason) (increase(crocbot_emitter_lines_lost[5m])) > 0",
    (words("reason", Loss),),
    source="emitter",
)
VALUES_DROPPED = Metric(
    "crocbot.emitter.values_dropped",
    "crocbot_emitter_values_dropped_total",
    Type.COUNTER,
    "values",
    "Reports that became no value; invalid or unknown means a bug in the gateway.",
    "increase(crocbot_emitter_values_dropped_total[1h]) > 0",
    (words("reason", Drop),),
    source="emitter",
)
