"""
A gateway whose agent hangs in a way that no agent should: for tests of its end.

    python -m tests.end_to_end.hung_gateway waits|swallows|thread|blocks
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

from crocbot import cli
from crocbot.agents.agent import Answer
from crocbot.agents.echo import Echo
from crocbot.model import Prompt

HOURS = 3 * 3600.0


async def waits() -> None:
    """Hang as a slow model does."""
    await asyncio.sleep(HOURS)


async def swallows() -> None:
    """Hang, and ignore being told to stop."""
    while True:
        try:
            await asyncio.sleep(HOURS)
        except asyncio.CancelledError:
            pass


async def thread() -> None:
    """Hang in a thread that Python waits for at its exit."""
    await asyncio.to_thread(time.sleep, HOURS)


async def blocks() -> None:
    """Hang in the event loop itself."""
    time.sleep(HOURS)  # noqa: ASYNC251 (that is the fault)


WAYS: dict[str, Callable[[], Awaitable[None]]] = {
    way.__name__: way for way in (waits, swallows, thread, blocks)
}


def main(way: str) -> int:
    """Run a gateway whose echo hangs when it is asked to."""
    answer = Echo.answer

    async def hang(echo: Echo, question: Prompt) -> Answer:
        if question.message.text == "hang":
            print("hanging", flush=True)
            await WAYS[way]()
        async for piece in answer(echo, question):
            yield piece

    Echo.answer = hang  # type: ignore[method-assign]
    return cli.main(["gateway"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
