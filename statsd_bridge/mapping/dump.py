"""
A table in, a picture of its globs out: text for Graphviz.

Nodes are numbered breadth first from 0, the start; from there the kinds lead on, then
the segments.  Regexes have no states.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from statsd_bridge.mapping.glob import Node
from statsd_bridge.mapping.table import MappingTable
from statsd_bridge.model import SampleType

_HEAD = (
    "digraph g {",
    "rankdir=LR",
    'node [ label="",style=filled,fillcolor=white,shape=circle ]',
)
_KIND_COLOUR = 'color="#4C72B0",fillcolor="#DCE6F5"'
_FINAL_COLOUR = 'color="#55A868",fillcolor="#E0F2E4"'
# A set takes the gauges' way.
_KINDS = (SampleType.COUNTER, SampleType.GAUGE, SampleType.OBSERVER)


def dot(table: MappingTable) -> str:
    """Draw the automaton of a table's globs."""
    start = Node()
    start.literals = {str(kind): table.globs[kind].root for kind in _KINDS}
    return "\n".join([*_HEAD, *_lines(start), "}", ""])


def _lines(start: Node) -> Iterator[str]:
    pending = deque([(0, start)])
    count = 1
    while pending:
        number, state = pending.popleft()
        for segment, following in state.edges():
            # Segments are made of letters, digits, _, - and *: nothing to escape.
            yield f'{number} -> {count}  [label = "{segment}"];'
            if number == 0:
                yield f"{count} [{_KIND_COLOUR}];"
            elif following.is_final():
                yield f"{count} [{_FINAL_COLOUR}];"
            pending.append((count, following))
            count += 1
