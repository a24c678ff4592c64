"""What the operator asked for, and how work is given up for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Stop:
    """What the operator asked for: once to stop, once more to hurry."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurry = asyncio.Event()

    def ask(self) -> None:
        """Ask to stop."""
        (self.hurry if self.asked.is_set() else self.asked).set()


async def unless(
    event: asyncio.Event, work: Coroutine[Any, Any, Result]
) -> Result | None:
    """Do the work, or give it up with None when the event comes first."""
    return await first(work, _wait(event))


async def first(*works: Coroutine[Any, Any, Result]) -> Result:
    """Do all of it until one ends, with a result or an error; give up the others."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task.result() for task in tasks if task.done())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
