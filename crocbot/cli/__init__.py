"""
The command line: commands to exit codes.

    0  done, or stopped as asked
    2  the operator must change something
    1  anything else

`root.py` has the list of commands.  Each command imports what it needs when it runs:
`--help` is quick, and needs no extra.
"""

from __future__ import annotations

from crocbot.cli.root import cli, main

__all__ = ["cli", "main"]
