"""
The lease under which this process works a chat, when several share one database.

    with working_under(lease):      a turn, or a pushed message, and the tasks it starts
        if await confirm(): ...     before each request that others can see

A lease is a row of the database with an epoch that is never used again.  It is renewed
every RENEW_SECONDS and ends LEASE_SECONDS after the last renewal; this process stops
MARGIN_SECONDS before that.  A lapsed lease may still be confirmed: if no other replica
has taken the chat, the row has the same epoch.  Until that is known, `confirm()` waits.

With SQLite there are no leases, and `confirm()` returns True at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

LEASE_SECONDS = 10.0
RENEW_SECONDS = 2.0
MARGIN_SECONDS = 2.0
# Linux has a clock that goes on while the machine is suspended.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> float:
    """Return the time of the clock of leases, in seconds."""
    return time.clock_gettime(_CLOCK)


def _new_event() -> asyncio.Event:
    """Return an event; commands such as --help import this module without asyncio."""
    import asyncio

    return asyncio.Event()


@dataclass(slots=True, eq=False)
class Lease:
    """
    The lease of a chat; `chat` is its first id, or 0 for updates without a chat.

    `until`, by `now()`, is when this process must stop.  `users` counts the rows and
    pushed messages that this process has taken and not left; `idle` is set when there
    are none left.  `flood_seconds` is how long Telegram refused messages to the chat
    when it was taken.  `paired` is whether the person of a private chat was approved by
    the operator when the latest turn began, None if that is not known.  `unsent` are
    updates of turns that began then and whose answers no rich message has.
    """

    chat: int
    epoch: int
    until: float
    idle: asyncio.Event = field(default_factory=_new_event, repr=False, kw_only=True)
    flood_seconds: float = field(default=0.0, kw_only=True)
    paired: bool | None = field(default=None, init=False)
    unsent: frozenset[int] = field(default=frozenset(), init=False)
    users: int = field(default=0, init=False)
    lost: bool = field(default=False, init=False)
    _changed: asyncio.Event = field(default_factory=_new_event, init=False, repr=False)

    @property
    def held(self) -> bool:
        """Return whether this process may work the chat at this time."""
        return not self.lost and now() < self.until

    async def confirm(self) -> bool:
        """Wait while the lease has lapsed; return whether it is held, and not lost."""
        while not (self.lost or self.held):
            await self._changed.wait()
        return not self.lost

    def renew(self, until: float) -> None:
        """Take a renewal of the lease."""
        self.until = max(self.until, until)
        self._wake()

    def lose(self) -> None:
        """Take the loss of the lease, for good."""
        self.lost = True
        self._wake()

    def enter(self) -> None:
        """Count in a row or a pushed message of the chat."""
        self.users += 1

    def leave(self) -> None:
        """Count one out."""
        self.users -= 1
        if not self.users:
            self.idle.set()

    def _wake(self) -> None:
        """Wake all that wait for a change now."""
        changed, self._changed = self._changed, _new_event()
        changed.set()


class Holder(Protocol):
    """What knows the leases of this process."""

    def lease(self, chat: int) -> Lease | None:
        """Return the lease of a chat, None if another replica may work it."""


class Backlog(Protocol):
    """What waits in a database that several processes share."""

    async def wait_for_room(self) -> int:
        """Wait until more updates may be stored; return how many."""


_current: ContextVar[Lease | None] = ContextVar("lease", default=None)


def current() -> Lease | None:
    """Return the lease under which the current task works, None for none."""
    return _current.get()


def take_paired(person: int) -> bool | None:
    """
    Return whether a person was approved when the current task's turn began, once.

    None means that it is not known.  The id of a private chat is that of its person.
    """
    lease = _current.get()
    if lease is None or lease.chat != person:
        return None
    paired, lease.paired = lease.paired, None
    return paired


def take_flood_seconds() -> float:
    """Return how long the current task's chat has to wait, once for each lease."""
    lease = _current.get()
    if lease is None:
        return 0.0
    seconds, lease.flood_seconds = lease.flood_seconds, 0.0
    return seconds


async def confirm() -> bool:
    """Wait until it is known whether the current task may go on; return that."""
    lease = _current.get()
    return lease is None or await lease.confirm()


@contextmanager
def working_under(lease: Lease | None) -> Iterator[None]:
    """Work under a lease, with all tasks that are started inside."""
    token = _current.set(lease)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def using(lease: Lease | None) -> Iterator[None]:
    """Count as a user of a lease, so that it is not given back meanwhile."""
    if lease is not None:
        lease.enter()
    try:
        yield
    finally:
        if lease is not None:
            lease.leave()
