"""
Compare what the users saw with what the metrics page shows.

An empty list proves the run: every message was answered, in order, and the page counts
exactly what happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.samples import Sample

from crocbot.sandbox.metrics_page import (
    ERRORS,
    LATENCY,
    MESSAGES,
    RECONNECTS,
    UPTIME,
    by_label,
)


def differences(
    *,
    sent: Mapping[str, int],
    answered: Mapping[str, int],
    mistakes: Sequence[str],
    samples: Sequence[Sample],
) -> list[str]:
    """
    Return a sentence for each difference.

    `sent` and `answered` count messages by type; `mistakes` are those of the users.
    """
    return [
        *mistakes,
        *_unanswered(sent, answered),
        *_wrong_counts(MESSAGES, sent, samples),
        *_wrong_counts(f"{LATENCY}_count", sent, samples),
        *_not_zero(ERRORS, samples),
        *_not_zero(RECONNECTS, samples),
        *_wrong_uptime(samples),
    ]


def _unanswered(sent: Mapping[str, int], answered: Mapping[str, int]) -> Iterator[str]:
    if not any(sent.values()):
        yield "no message was sent"
    for type_, count in sent.items():
        if (got := answered.get(type_, 0)) != count:
            yield f"{count} messages of type {type_} were sent, {got} answered"


def _wrong_counts(
    name: str, sent: Mapping[str, int], samples: Sequence[Sample]
) -> Iterator[str]:
    """Compare a count by type with what was sent; other types must be 0."""
    counted = by_label(samples, name)
    for type_ in sorted({*sent, *counted}):
        expected, actual = sent.get(type_, 0), counted.get(type_)
        if actual is None:
            yield f'{name}{{type="{type_}"}} is missing, expected {expected}'
        elif actual != expected:
            yield f'{name}{{type="{type_}"}} is {actual:.10g}, expected {expected}'


def _not_zero(name: str, samples: Sequence[Sample]) -> Iterator[str]:
    found = by_label(samples, name)
    if not found:
        yield f"{name} is missing"
    for labels, value in found.items():
        if value:
            yield f"{name} is {value:.10g} for {labels}, expected 0"


def _wrong_uptime(samples: Sequence[Sample]) -> Iterator[str]:
    found = by_label(samples, UPTIME)
    if not found:
        yield f"{UPTIME} is missing"
    elif min(found.values()) < 0:
        yield f"{UPTIME} is {min(found.values()):.10g}, expected a positive number"
