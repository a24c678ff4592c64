"""The end of the process, with the exit code that was meant."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from crocbot.service import deadline
sys.stdin.read()
# With a buffer, whatever the environment says.
sys.stdout = open(1, "w", closefd=False)
sys.stdout.write("nobody reads this")
deadline.leave({code})
"""


def end(code: int, *, read: bool) -> tuple[int, bytes]:
    """Leave with a code after writing; tells which code came, and what was read."""
    command = [sys.executable, "-c", PROGRAM.format(code=code)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if not read:
            process.stdout.close()
        process.stdin.close()
        output = process.stdout.read() if read else b""
    return process.returncode, output


def test_what_was_written_is_flushed() -> None:
    """Nothing that was written is lost by leaving at once."""
    assert end(2, read=True) == (2, b"nobody reads this")


def test_nobody_reads() -> None:
    """An output without a reader is no failure."""
    assert end(0, read=False) == (0, b"")
