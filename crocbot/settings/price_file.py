"""
The file that CROCBOT_PRICES names: models to their prices.

    ["gpt-4o-mini"]
    input = 0.15            dollars per million tokens
    output = 0.60
    cached_input = 0.075    optional: else like input

A file that is wrong is refused as a whole; the error names the file and the key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from crocbot.errors import OperatorError
from crocbot.prices import Price
from crocbot.settings.files import read_toml

PRICES = "CROCBOT_PRICES"
MAX_PRICE = 1_000_000
KEYS = ("input", "output", "cached_input")
MICRO = 1_000_000
RULE = f"must be dollars per million tokens, 0 to {MAX_PRICE}"
MAX_SHOWN_CHARS = 80


def read_prices(file: Path | None) -> Mapping[str, Price]:
    """Return the price of each model in a file.  Raise OperatorError."""
    if file is None:
        return {}
    models = read_toml(str(file), PRICES, parse_float=Decimal)
    return {
        model: _price(f"{PRICES}: {file}", model, models[model]) for model in models
    }


def _price(source: str, model: str, table: object) -> Price:
    shown = f"{source}: {_key(model)}"
    if not isinstance(table, Mapping):
        raise OperatorError(
            f"{shown} is {_shown(table)}: must be a table with input and output"
        )
    for key in table:
        if isinstance(table[key], Mapping):
            raise OperatorError(
                f"{shown} has a table {_key(key)}: write the name of a model with a"
                f" dot in quotation marks, [{_quoted(f'{model}.{key}')}]"
            )
        if key not in KEYS:
            raise OperatorError(
                f"{shown}.{_key(key)} is no price: must be input, output or"
                " cached_input"
            )
    for key in KEYS[:2]:
        if key not in table:
            raise OperatorError(f"{shown}.{key} is missing: it {RULE}")
    prices = {key: _number(f"{shown}.{key}", table[key]) for key in table}
    return Price(**{"cached_input": prices["input"], **prices})


def _number(key: str, value: Any) -> int:
    """Return a price in picodollars a token."""
    is_number = type(value) is int or isinstance(value, Decimal)
    # NaN and infinity are numbers in TOML.
    if not is_number or not Decimal(value).is_finite() or not 0 <= value <= MAX_PRICE:
        raise OperatorError(f"{key} is {_shown(value)}: {RULE}")
    return round(Decimal(value) * MICRO)


def _key(name: str) -> str:
    """Return a key as it is in one line of text."""
    plain = name.isascii() and name.isprintable() and " " not in name and name
    return (name if plain else repr(name))[:MAX_SHOWN_CHARS]


def _quoted(name: str) -> str:
    """Return a key in quotation marks, in one line."""
    return json.dumps(name[:MAX_SHOWN_CHARS])


def _shown(value: object) -> str:
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text[:MAX_SHOWN_CHARS]
