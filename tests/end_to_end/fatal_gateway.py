"""
A gateway whose agent ends the process, or is slow.

    python -m tests.end_to_end.fatal_gateway kill|abort|exit|raise|slow

The message `fatal` ends the process.  `slow` answers every message after a while.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable

from crocbot import cli
from crocbot.agents.answer import Answer
from crocbot.agents.echo import EchoAgent
from crocbot.model import Prompt

MAX_SECONDS = 0.1


def kill() -> None:
    """End like a process that uses too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def abort() -> None:
    """End like a bug in a library in C."""
    # Python's handler would print the traceback of each thread.
    signal.signal(signal.SIGABRT, signal.SIG_DFL)
    os.abort()


def leave() -> None:
    """End without any clean-up."""
    os._exit(0)


def leave_by_exception() -> None:
    """End as sys.exit() does."""
    raise SystemExit(0)


ENDS: dict[str, Callable[[], None]] = {
    "kill": kill,
    "abort": abort,
    "exit": leave,
    "raise": leave_by_exception,
}


def main(end: str) -> int:
    """Run a gateway whose echo ends it on the message `fatal`, or is slow."""
    answer = EchoAgent.answer

    async def answer_or_end(self: EchoAgent, prompt: Prompt) -> Answer:
        if end == "slow":
            await asyncio.sleep(random.uniform(0, MAX_SECONDS))
        elif prompt.message.text == "fatal":
            print("fatal", flush=True)
            ENDS[end]()
        elif prompt.message.text == "slow":
            # Until the process ends: it is in flight whenever that happens.
            await asyncio.sleep(1)
        async for piece in answer(self, prompt):
            yield piece

    EchoAgent.answer = answer_or_end  # type: ignore[method-assign]
    return cli.main(["gateway"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
