"""
Work in steps: a generator whose steps take at most about a millisecond each.

Between the steps the reactor handles other events; to close the generator ends the
work.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any, TypeVar

Result = TypeVar("Result")
Item = TypeVar("Item")

Steps = Generator[None, None, Result]
"""Work that yields between two steps and returns a result."""

Json = dict[str, Any]
"""An object for JSON."""

MAX_STEP_LENGTH = 64 * 1024
"""Characters of the texts of a step, about; one text may be longer."""

STEP_ITEMS = 500
"""Items of a step, of about a microsecond each."""


def run_at_once(steps: Steps[Result]) -> Result:
    """Do all steps, and return the result: for few items, and for tests."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            result: Result = ended.value
            return result


def parts(items: Sequence[Item], size: int = STEP_ITEMS) -> Iterator[Sequence[Item]]:
    """Divide a sequence into parts of a step."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def text_parts(texts: Sequence[str], size: int = STEP_ITEMS) -> Iterator[Sequence[str]]:
    """Divide texts into parts of a step: labels may be as long as a datagram."""
    for part in parts(texts, size):
        yield from _halves(part)


def _halves(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    if len(texts) > 1 and sum(map(len, texts)) > MAX_STEP_LENGTH:
        half = len(texts) // 2
        yield from _halves(texts[:half])
        yield from _halves(texts[half:])
    else:
        yield texts


def json_length(text: str) -> int:
    """Return about how many bytes a text takes in JSON that is escaped to ASCII."""
    return len(text) if text.isascii() else 6 * len(text)


def finite(number: float) -> float | str:
    """Return a number for JSON, which has neither NaN nor infinities: they are text."""
    if number != number:
        return "NaN"
    if number in (float("inf"), float("-inf")):
        return "+Inf" if number > 0 else "-Inf"
    return number
