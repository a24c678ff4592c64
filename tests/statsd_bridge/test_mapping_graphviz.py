"""The globs of a table are drawn as text for Graphviz."""

from __future__ import annotations

import re

from statsd_bridge import mapping

_EDGE = re.compile(r'(\d+) -> (\d+)  \[label = "([^"]*)"\];')


def test_states_are_numbered_breadth_first() -> None:
    """States are numbered breadth first, from the start over the sample types."""
    text = """
    mappings:
    - {match: a.*, name: a, match_metric_type: counter}
    - {match: a, name: a, match_metric_type: gauge}
    """
    assert mapping.to_dot(mapping.parse(text, "f")) == (
        "digraph g {\n"
        "rankdir=LR\n"
        'node [ label="",style=filled,fillcolor=white,shape=circle ]\n'
        '0 -> 1  [label = "counter"];\n'
        '1 [color="#4C72B0",fillcolor="#DCE6F5"];\n'
        '0 -> 2  [label = "gauge"];\n'
        '2 [color="#4C72B0",fillcolor="#DCE6F5"];\n'
        '0 -> 3  [label = "observer"];\n'
        '3 [color="#4C72B0",fillcolor="#DCE6F5"];\n'
        '1 -> 4  [label = "a"];\n'
        '2 -> 5  [label = "a"];\n'
        '5 [color="#55A868",fillcolor="#E0F2E4"];\n'
        '4 -> 6  [label = "*"];\n'
        '6 [color="#55A868",fillcolor="#E0F2E4"];\n'
        "}\n"
    )


def test_every_state_has_one_incoming_edge() -> None:
    """The drawing is a tree: each state but 0 has one incoming edge."""
    text = "mappings: [{match: a.*.b, name: a}, {match: a.b, name: b}]"
    edges = _EDGE.findall(mapping.to_dot(mapping.parse(text, "f")))

    assert [int(to) for _, to, _ in edges] == list(range(1, len(edges) + 1))


def test_a_table_without_globs_has_edges_to_the_types_only() -> None:
    """A table without globs has edges to the sample types only."""
    table = mapping.parse("mappings: [{match: a, match_type: regex, name: a}]", "f")

    assert [label for _, _, label in _EDGE.findall(mapping.to_dot(table))] == [
        "counter",
        "gauge",
        "observer",
    ]
