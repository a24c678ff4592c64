"""The end of work and of the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from crocbot.service import shutdown
sys.stdin.read()
# With a buffer, whatever the environment says.
sys.stdout = open(1, "w", closefd=False)
sys.stdout.write("written")
shutdown.exit_now({code})
"""


@pytest.mark.parametrize(("code", "read"), [(2, True), (0, False)])
def test_exit_now(code: int, read: bool) -> None:
    """Output is flushed, a closed output is no error, and the exit code is as asked."""
    command = [sys.executable, "-c", PROGRAM.format(code=code)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if not read:
            process.stdout.close()
        process.stdin.close()
        output = process.stdout.read() if read else b"written"

    assert (process.returncode, output) == (code, b"written")
