"""
The prices of models, and what an answer cost.

    Usage(12, 3), Price --> picodollars --> dollars

A picodollar is the millionth part of a millionth of a dollar: with up to six decimal
places in a price, every cost is a whole number of them, and sums are exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from crocbot.model import Usage

PICODOLLARS = 10**12
# What the database can add up for as long as anyone pays: a million dollars each.
MAX_COST = 10**6 * PICODOLLARS
MAX_LABEL_CHARS = 64
NOT_IN_LABELS = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """
    Picodollars a token, which are millionths of dollars per million tokens.

    `cached_input` is for the part of the input that the server had in its cache.
    """

    input: int
    output: int
    cached_input: int

    def cost(self, usage: Usage) -> int:
        """Return what an answer cost, in picodollars."""
        cached = min(usage.cached_tokens, usage.input_tokens)
        cost = (usage.input_tokens - cached) * self.input
        cost += cached * self.cached_input + usage.output_tokens * self.output
        return min(cost, MAX_COST)


@dataclass(frozen=True, slots=True)
class PricedModel:
    """A model of the settings: the label of its metric, and its price if it has one."""

    label: str
    price: Price | None

    def cost(self, usage: Usage) -> int:
        """Return what an answer cost, in picodollars; 0 without a price."""
        return 0 if self.price is None else self.price.cost(usage)


def label(name: str) -> str:
    """
    Return the name of a model as the value of a label, and a segment for statsd.

        "openai/gpt-4.1" --> "openai_gpt-4_1"
    """
    return NOT_IN_LABELS.sub("_", name)[:MAX_LABEL_CHARS]


def total(usages: Iterable[Usage]) -> Usage:
    """Return the tokens of several prompts together."""
    found = list(usages)
    return Usage(
        sum(each.input_tokens for each in found),
        sum(each.output_tokens for each in found),
        sum(each.cached_tokens for each in found),
    )


def in_words(cost: int) -> str:
    """
    Return picodollars as dollars.

        12_345_600_000 --> "$0.012346"      2_500_000_000_000 --> "$2.50"
    """
    dollars = cost / PICODOLLARS
    if not cost or dollars >= 1:
        return f"${dollars:,.2f}"
    return f"${max(dollars, 0.000001):.6f}".rstrip("0").ljust(5, "0")
