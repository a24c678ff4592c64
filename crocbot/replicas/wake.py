"""
Notifications of the database (LISTEN): what another replica did is known at once.

    payload "chats 7 8" --> the listener for `chats`, with the words 7 and 8

Nothing depends on them: a pooler in transaction mode passes none on, and some are lost
while the connection is made again.  What they are for is also looked at every second or
two.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

from crocbot import log
from crocbot.backoff import Backoff
from crocbot.errors import StoreError
from crocbot.replicas.leader import Leader

CHANNEL = "crocbot"
MAX_PAUSE_SECONDS = 30.0

logger = log.logger(__name__)


class Notifications(Protocol):
    """The notifications of a database."""

    def listen(self, channel: str) -> AsyncGenerator[str, None]:
        """
        Yield "" once notifications arrive, then the payload of each.

        Raise StoreError when the connection ends, or cannot be made.
        """


class WakeListener(Protocol):
    """What is woken by one kind of notifications."""

    def woken(self, words: Sequence[str]) -> None:
        """Take the words of a notification; none: any may have been missed."""


@dataclass(frozen=True, slots=True)
class LeaderWake:
    """Lets the heartbeat look at once: the lease of the leader may be free."""

    leader: Leader

    def woken(self, _: Sequence[str]) -> None:
        """Ask for a heartbeat."""
        self.leader.asked.set()


@dataclass(slots=True, kw_only=True)
class Wake:
    """Passes notifications on to `listeners`, by their first word."""

    source: Notifications
    listeners: Mapping[str, WakeListener]
    _pauses: Backoff = field(
        default_factory=lambda: Backoff(longest=MAX_PAUSE_SECONDS), init=False
    )

    async def run(self) -> None:
        """Listen until cancelled, with a new connection after each error."""
        while True:
            try:
                async with aclosing(self.source.listen(CHANNEL)) as payloads:
                    async for payload in payloads:
                        self._pauses.reset()
                        self._pass_on(payload)
            except StoreError as error:
                if not self._pauses.failures:
                    logger.warning("no notifications", error=str(error))
            await asyncio.sleep(self._pauses.next_pause())

    def _pass_on(self, payload: str) -> None:
        kind, *words = payload.split() or [""]
        for name, listener in self.listeners.items():
            if kind in ("", name):
                listener.woken(words)
