"""
Read YAML files, with checks and places for errors.  Start at section.py.

`read_file` and `compose` are those of tree.py, which is imported when they are called:
a bridge without a file needs no yaml library.
"""

from __future__ import annotations

from statsd_bridge.document.node import Node
from statsd_bridge.document.pace import NO_PACE, Pace


def read_file(path: str) -> bytes:
    """Read a file up to the size that compose refuses; ConfigError if it fails."""
    from statsd_bridge.document import tree

    return tree.read_file(path)


def compose(text: str | bytes, file: str, *, pace: Pace = NO_PACE) -> Node | None:
    """Parse the first document; None if there is none, ConfigError if it is invalid."""
    from statsd_bridge.document import tree

    return tree.compose(text, file, pace=pace)
