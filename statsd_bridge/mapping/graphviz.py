"""
Draw the automaton of a table's globs as text for Graphviz.

States are numbered breadth first from 0, the start; edges lead from there to the sample
types, then to the segments.  Regexes have no states.
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
_TYPE_COLOUR = 'color="#4C72B0",fillcolor="#DCE6F5"'
_FINAL_COLOUR = 'color="#55A868",fillcolor="#E0F2E4"'
# Sets use the globs of gauges.
_SAMPLE_TYPES = (SampleType.COUNTER, SampleType.GAUGE, SampleType.OBSERVER)


def to_dot(table: MappingTable) -> str:
    """Return the drawing of a table's globs."""
    start, globs = Node(), table.search.globs
    start.literals = {str(each): globs[each].root for each in _SAMPLE_TYPES}
    return "\n".join([*_HEAD, *_lines(start), "}", ""])


def _lines(start: Node) -> Iterator[str]:
    pending = deque([(0, start)])
    count = 1
    while pending:
        number, node = pending.popleft()
        for segment, child in node.edges():
            # Segments consist of letters, digits, _, - and *: nothing to escape.
            yield f'{number} -> {count}  [label = "{segment}"];'
            if number == 0:
                yield f"{count} [{_TYPE_COLOUR}];"
            elif child.is_final():
                yield f"{count} [{_FINAL_COLOUR}];"
            pending.append((count, child))
            count += 1
