"""Run functions beside the reactor, in threads that do not delay the end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

Result = TypeVar("Result")


class Threads(Protocol):
    """Runs functions beside the reactor."""

    def run(self, function: Any, *args: Any) -> Deferred[Any]:
        """Call a function; its result, or its exception, comes on the reactor."""


class DaemonThreads:
    """
    At most `max_threads` threads for one purpose.

    They are daemon threads: a call that hangs does not prevent the end of the process.
    """

    def __init__(self, reactor: Any, name: str, max_threads: int) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, max_threads, name)
        self._pool.threadFactory = partial(  # type: ignore[assignment]
            self._pool.threadFactory, daemon=True
        )
        self._pool.start()

    def run(self, function: Callable[..., Result], *args: Any) -> Deferred[Result]:
        """Call a function; its result, or its exception, comes on the reactor."""
        return deferToThreadPool(self._reactor, self._pool, function, *args)
