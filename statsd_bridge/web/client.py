"""Clients whose requests wait for a response."""

from __future__ import annotations

import select
from collections.abc import Iterable
from typing import Protocol, TypeVar


class Client(Protocol):
    """The sender of a request that may have to wait."""

    @property
    def peer(self) -> str:
        """What identifies the client among others."""

    def fileno(self) -> int:
        """Return the descriptor of its connection; -1 if there is none."""


C = TypeVar("C", bound=Client)


def clients_that_left(clients: Iterable[C]) -> list[C]:
    """
    Return the clients that have closed their side of the connection, or all of it.

    The reactor finds that out as well, but only after what it does now.  Systems that
    cannot tell (others than Linux) return none.
    """
    event = getattr(select, "POLLRDHUP", 0)
    if not event:
        return []
    by_descriptor = {each.fileno(): each for each in clients}
    by_descriptor.pop(-1, None)
    poll = select.poll()
    for descriptor in by_descriptor:
        poll.register(descriptor, event)
    return [by_descriptor[descriptor] for descriptor, _ in poll.poll(0)]
