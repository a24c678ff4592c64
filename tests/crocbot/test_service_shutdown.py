"""The end of work and of the process."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from crocbot.turn.completion import run_to_end

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


async def test_run_to_end_is_not_cancelled() -> None:
    """However often its caller is cancelled, work ends first; then the caller does."""
    done: list[str] = []
    go_on = asyncio.Event()

    async def work() -> None:
        await go_on.wait()
        done.append("work")

    caller = asyncio.create_task(run_to_end(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.sleep(0)
        assert not caller.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller

    assert done == ["work"]
