"""
Shutdown: the operator's request, cancelling work when it comes, exiting in time.

A process that was asked to stop ends in time even if an agent blocks the event loop,
or a thread that Python would wait for.  Every accepted update is in the inbox, so
ending the process at any time loses none.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from crocbot.state_dir import StateLock

STDERR = 2

Result = TypeVar("Result")


class Shutdown:
    """
    The operator's request: the first stops updates, the second turns, too.

    `lock` is that of the state directory, once it is locked.
    """

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.hurried = asyncio.Event()
        self.lock: StateLock | None = None

    def request(self) -> None:
        """Request to stop, or, if that was requested before, to hurry."""
        (self.hurried if self.requested.is_set() else self.requested).set()


async def run_unless(
    event: asyncio.Event, work: Coroutine[Any, Any, Result]
) -> Result | None:
    """Return the result of `work`, or cancel it and return None if `event` is set."""
    return await run_until_first(work, _wait(event))


async def run_until_first(*works: Coroutine[Any, Any, Result]) -> Result:
    """Run all until one ends; cancel the others and return its result."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task.result() for task in tasks if task.done())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def exit_after(seconds: float, code: int, lock: StateLock | None = None) -> None:
    """
    End the process with this exit code after a time, unless it ends before.

    With `lock` the end counts as orderly.
    """
    # Not a timer of the event loop, which may be what hangs.
    threading.Thread(target=_exit, args=(seconds, code, lock), daemon=True).start()


def exit_now(code: int) -> None:
    """
    End the process once files are closed and the last packets are sent.

    Python's own exit takes a second on a busy machine, and waits for every thread.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        # A reader that has gone is no failure of the gateway.
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def has_blocking_threads() -> bool:
    """Return whether there are threads that Python would wait for at its exit."""
    return any(
        not thread.daemon and thread is not threading.main_thread()
        for thread in threading.enumerate()
    )


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def _exit(seconds: float, code: int, lock: StateLock | None) -> None:
    time.sleep(seconds)
    if lock is not None:
        lock.mark_stopped()
    # No lock and no buffer: one of them may be what hangs.
    with suppress(OSError):
        os.set_blocking(STDERR, False)
        os.write(
            STDERR,
            b"crocbot: exits while a task is still running;"
            b" open rows are answered after the next start\n",
        )
    os._exit(code)
