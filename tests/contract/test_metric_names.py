"""The names that users rely on, and the mapping file as both bridges read it."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import get_args

import pytest
import yaml

import crocbot
from crocbot.events import Event
from crocbot.model import ErrorType, MessageType, ReconnectReason, Severity
from crocbot.telemetry.catalogue import CATALOGUE
from statsd_bridge import mapping
from tests.contract.in_memory_bridge import MAPPING

MISSION: dict[str, tuple[str, dict[str, type[StrEnum]]]] = {
    "crocbot_uptime_seconds": ("gauge", {}),
    "crocbot_messages_total": ("counter", {"type": MessageType}),
    "crocbot_errors_total": ("counter", {"type": ErrorType, "severity": Severity}),
    "crocbot_telegram_latency_seconds": ("histogram", {"type": MessageType}),
    "crocbot_telegram_reconnects_total": ("counter", {"reason": ReconnectReason}),
}


@pytest.mark.parametrize("name", MISSION)
def test_the_five_mission_metrics_are_fixed(name: str) -> None:
    """Name, type, label names and label values are exactly these."""
    type_, labels = MISSION[name]
    (metric,) = [each for each in CATALOGUE if each.name == name]

    assert metric.type == type_
    assert metric.labels == labels


def rules() -> list[dict[str, object]]:
    """Return the rules of the mapping file."""
    document = yaml.safe_load(MAPPING.read_text())
    assert set(document) == {"mappings"}
    return list(document["mappings"])


# The keys of statsd_exporter, without those that its next version refuses.
KEYS = {
    *("match", "match_metric_type", "match_type", "name", "labels", "help", "ttl"),
    *("action", "honor_labels", "observer_type", "scale"),
    *("histogram_options", "summary_options"),
}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["name"])
def test_statsd_exporter_knows_every_key(rule: dict[str, Iterable[str]]) -> None:
    """The mapping file loads there, too, also if unknown keys are refused."""
    assert set(rule) <= KEYS
    assert set(rule.get("histogram_options", {})) <= {"buckets"}
    # Its label names have two letters or more.
    assert all(len(label) > 1 for label in rule.get("labels", {}))


def test_no_rule_is_the_beginning_of_an_earlier_one() -> None:
    """statsd_exporter would lose such a rule without a word."""
    matches = [str(rule["match"]).split(".") for rule in rules()]

    for earlier, later in itertools.combinations(matches, 2):
        assert not (len(later) < len(earlier) and earlier[: len(later)] == later)


def test_the_mapping_file_loads_without_a_warning() -> None:
    """No rule hides another, no key is unknown or old."""
    assert mapping.load(str(MAPPING), strict=True).warnings == ()


def test_every_event_is_emitted_by_a_stage() -> None:
    """The metrics of an event that no stage makes would stay at 0 for ever."""
    package = Path(crocbot.__file__).parent
    called = {
        node.func.id
        for file in package.rglob("*.py")
        if "telemetry" not in file.parts and file.name != "events.py"
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }

    assert {event.__name__ for event in get_args(Event)} - called == set()
