"""Pages of rules, and unmapped names with rules for them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from statsd_bridge import mapping
from statsd_bridge.inspection import rules as rules_module
from statsd_bridge.inspection.rules import RulesQuery, rules_page
from statsd_bridge.inspection.steps import run_at_once
from tests.statsd_bridge.in_memory import InMemoryPath

RULES = r"""
mappings:
- {match: app.req.*, name: app_requests_total, labels: {code: $1}}
- {match: app.req.200, name: never, match_metric_type: counter}
- {match: app.secret, name: unused, action: drop, match_metric_type: gauge}
- {match: 'x\.(.*)', match_type: regex, name: x}
"""


def page(memory: InMemoryPath, **query: Any) -> Any:
    """Return a page of rules."""
    return run_at_once(memory.inspector.rules(RulesQuery(**query)))


@pytest.mark.parametrize(
    ("match", "example"),
    [
        (r"^api\.(get|post)\.\d+$", "api.get.1"),
        (r"(?P<n>[\w-]+)\.((a)(b|c))[^x]?", "x.ab1"),
        (r"x\d{3}y\.([a-z_]+)(\.z)?$", "x111y.a.z"),
        (r"a|b", "a"),
        (r"\[a\]", "[a]"),
        (r"(a+)+\.(b|c){2}", "a.bb"),
        (r"a$b", None),
        (r"\x{41}b", None),
        ("a" * 1_000, None),
    ],
)
def test_an_example_of_a_regular_expression(match: str, example: str | None) -> None:
    """It matches, or there is none: the page explains what becomes of it."""
    rule = {"match": match, "match_type": "regex", "name": "a"}
    found = page(InMemoryPath(json.dumps({"mappings": [rule]})))
    assert found["rules"][0]["example"] == example


def test_a_rule() -> None:
    """Each has its place in the file, how often it matched, and why it cannot."""
    memory = InMemoryPath(RULES)
    memory.feed(*[b"app.req.200:1|c"] * 3)
    found = page(memory)

    assert found["rules"][0] == {
        "index": 0,
        "file_line": 3,
        "match": "app.req.*",
        "match_type": "glob",
        "example": "app.req.x",
        "name": "app_requests_total",
        "action": "map",
        "type": None,
        "hits": 3,
        "never_matched": False,
        "cannot_match": None,
    }
    assert [(each["type"], each["match_type"]) for each in found["rules"]] == [
        *((None, "glob"), ("counter", "glob"), ("gauge", "glob"), (None, "regex"))
    ]
    assert [each["cannot_match"] for each in found["rules"]] == [
        None,
        "the rule of line 3 (mappings[0]) matches all its names first",
        None,
        None,
    ]
    assert (found["next"], found["complete"], found["total"]) == (None, True, 4)
    assert (found["never_matched"], found["cannot_match"]) == (3, 1)


def test_pages_are_consecutive() -> None:
    """A page begins where the one before ended; marked rules can be selected."""
    memory = InMemoryPath(RULES)
    first = page(memory, limit=3)
    assert first["next"] == "r3"
    assert [each["index"] for each in page(memory, start=3)["rules"]] == [3]
    assert [each["index"] for each in page(memory, only="cannot_match")["rules"]] == [1]
    assert page(memory, start=99)["rules"] == []


def test_many_rules_take_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search for marked rules stops after a bounded number, and goes on later."""
    monkeypatch.setattr(rules_module, "MAX_LOOKED_AT", 800)
    rules = [f"- {{match: a{number}, name: a}}" for number in range(900)]
    rules.append("- {match: a0, name: never}")
    table = mapping.parse("\n".join(["mappings:", *rules]), "rules.yml")
    steps = rules_page(table, RulesQuery(only="cannot_match"))
    assert sum(1 for _ in steps) == 4
    found = run_at_once(rules_page(table, RulesQuery(only="cannot_match")))
    assert (found["rules"], found["complete"]) == ([], False)
    rest = RulesQuery(only="cannot_match", start=int(found["next"][1:]))
    assert len(run_at_once(rules_page(table, rest))["rules"]) == 1


def test_unmapped_names_have_a_rule_to_paste() -> None:
    """With the rule the name is mapped; a refused line has its reason."""
    memory = InMemoryPath(RULES)
    memory.feed(b"<b>.time:12|ms", b"app.web01.hits:1|c", b"x:y", b"y" * 300 + b":1|c")
    found = memory.inspector.unmapped()

    by_name = {each["name"]: each for each in found["unmapped_names"]}
    assert by_name["y" * 256]["suggestion"] is None
    for name, type in (("<b>.time", "observer"), ("app.web01.hits", "counter")):
        assert (by_name[name]["count"], by_name[name]["type"]) == (1, type)
        rule = by_name[name]["suggestion"]
        assert len(yaml.safe_load(rule)) == 1
        mapped = InMemoryPath(f"mappings:\n{rule}")
        mapped.feed(f"{name}:1|{'ms' if type == 'observer' else 'c'}".encode())
        assert mapped.inspector.unmapped()["unmapped_names"] == []
    (refused,) = found["refused_lines"]
    assert (refused["line"], refused["count"]) == ("x:y", 1)
    assert refused["last_seen"] > 1_700_000_000
