"""
What the people saw and what the metrics page says to a list of differences.

An empty list is the proof that the main job was done: everything that was written was
answered, in order, and the page counts exactly what happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from crocbot.sandbox.metrics_page import (
    ERRORS,
    LATENCY,
    MESSAGES,
    RECONNECTS,
    UPTIME,
    Series,
    by_label,
)


def differences(
    sent: Mapping[str, int],
    answered: Mapping[str, int],
    mistakes: Sequence[str],
    series: Sequence[Series],
) -> list[str]:
    """Everything that is not as it must be, a sentence each."""
    return [
        *mistakes,
        *_unanswered(sent, answered),
        *_counts(
            MESSAGES,
            sent,
            by_label(series, MESSAGES),
        ),
        *_counts(
            f"{LATENCY}_count",
            sent,
            by_label(series, f"{LATENCY}_count"),
        ),
        *_zero(ERRORS, series),
        *_zero(RECONNECTS, series),
        *_uptime(series),
    ]


def _unanswered(sent: Mapping[str, int], answered: Mapping[str, int]) -> Iterator[str]:
    if not any(sent.values()):
        yield "nobody wrote anything"
    for kind, count in sent.items():
        if (got := answered.get(kind, 0)) != count:
            yield f"{count} messages of type {kind} were sent, {got} answered"


def _counts(
    name: str, sent: Mapping[str, int], counted: Mapping[str, float]
) -> Iterator[str]:
    """A counter by type against what was sent; what never was sent counts 0."""
    for kind in sorted({*sent, *counted}):
        expected, actual = sent.get(kind, 0), counted.get(kind)
        if actual is None:
            yield f'{name}{{type="{kind}"}} is missing, expected {expected}'
        elif actual != expected:
            yield f'{name}{{type="{kind}"}} is {actual:.10g}, expected {expected}'


def _zero(name: str, series: Sequence[Series]) -> Iterator[str]:
    found = by_label(series, name)
    if not found:
        yield f"{name} is missing"
    for labels, value in found.items():
        if value:
            yield f"{name} is {value:.10g} for {labels}, expected 0"


def _uptime(series: Sequence[Series]) -> Iterator[str]:
    found = by_label(series, UPTIME)
    if not found:
        yield f"{UPTIME} is missing"
    elif min(found.values()) < 0:
        yield f"{UPTIME} is {min(found.values()):.10g}, expected a positive number"
