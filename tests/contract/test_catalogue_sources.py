"""Each metric has one place that records it, and each fact somebody who reports it."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from crocbot.events import Event
from crocbot.telemetry import catalogue
from crocbot.telemetry.catalogue import CATALOGUE, Metric

PACKAGE = Path(catalogue.__file__).parents[2]
TELEMETRY = PACKAGE / "telemetry"
FACTS = {fact.__name__ for fact in get_args(Event)}
PARTS = {"runtime", "emitter"}


def recorders(row: str) -> set[str]:
    """The parts of telemetry that ask for a row of the catalogue."""
    return {
        file.stem
        for file in TELEMETRY.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) == ("catalogue", row)
    }


ROWS = {name: row for name, row in vars(catalogue).items() if isinstance(row, Metric)}


@pytest.mark.parametrize("name", sorted(ROWS.keys() - {"VALUES_DROPPED"}))
def test_a_metric_is_recorded_in_one_place(name: str) -> None:
    """The observer, the runtime or the emitter; and the table says by what."""
    sources = set(ROWS[name].source.split(", "))
    wanted = sources if sources <= PARTS else {"observer"}

    assert sources <= FACTS or sources <= PARTS
    assert recorders(name) == wanted


def test_what_is_dropped_is_recorded_where_it_is_dropped() -> None:
    """The one exception: each part counts its own drops, under its own reason."""
    assert recorders("VALUES_DROPPED") == {"observer", "runtime", "emitter"}


def test_every_fact_moves_a_metric() -> None:
    """No fact is told for nothing: the table names it."""
    named = {source for metric in CATALOGUE for source in metric.source.split(", ")}

    assert named - PARTS == FACTS


def test_every_fact_is_reported_by_somebody() -> None:
    """A fact that no stage makes would leave its metrics at 0 for ever."""
    made: Counter[str] = Counter()
    for file in PACKAGE.rglob("*.py"):
        if TELEMETRY in file.parents or file.name == "events.py":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                made[node.func.id] += 1

    assert {fact for fact in FACTS if not made[fact]} == set()
