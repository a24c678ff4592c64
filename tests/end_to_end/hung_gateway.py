"""
A gateway whose agent hangs, for tests of its stop.

    python -m tests.end_to_end.hung_gateway waits|swallows|thread|blocks
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

from crocbot import cli
from crocbot.agents.answer import Answer
from crocbot.agents.echo import EchoAgent
from crocbot.model import Prompt

HOURS = 3 * 3600.0


async def waits() -> None:
    """Hang like a slow model."""
    await asyncio.sleep(HOURS)


async def swallows() -> None:
    """Hang and ignore cancellation."""
    while True:
        try:
            await asyncio.sleep(HOURS)
        except asyncio.CancelledError:
            pass


async def thread() -> None:
    """Hang in a thread that Python joins at its exit."""
    await asyncio.to_thread(time.sleep, HOURS)


async def blocks() -> None:
    """Block the event loop."""
    time.sleep(HOURS)  # noqa: ASYNC251 (that is the fault)


HANGS: dict[str, Callable[[], Awaitable[None]]] = {
    hang.__name__: hang for hang in (waits, swallows, thread, blocks)
}


def main(hang: str) -> int:
    """Run a gateway whose echo hangs on the message `hang`."""
    answer = EchoAgent.answer

    async def answer_or_hang(self: EchoAgent, prompt: Prompt) -> Answer:
        if prompt.message.text == "hang":
            print("hanging", flush=True)
            await HANGS[hang]()
        async for piece in answer(self, prompt):
            yield piece

    EchoAgent.answer = answer_or_hang  # type: ignore[method-assign]
    return cli.main(["gateway"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
