"""
Polling where replicas share a database: only the leader polls, the others wait.

    standby --> term begins --> a new Poller, from offset 0 --> term ends --> standby

Updates that the leader before has stored and not confirmed come again: the inbox knows
them, and counts them as duplicates.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import ClassVar

from crocbot.botapi.client import Client
from crocbot.botapi.poller import Poller
from crocbot.dispatcher import Dispatcher
from crocbot.events import EventListener
from crocbot.model import Clock
from crocbot.replicas.leader import Leadership, Term


@dataclass(slots=True, kw_only=True)
class LeaderPoller:
    """
    Polls in each term of this replica.

    `completed_at` and `error` are those of the poller of the present term; while there
    is none, `completed_at` is None.
    """

    contact: ClassVar[str] = Poller.contact
    client: Client
    dispatcher: Dispatcher
    events: EventListener
    leadership: Leadership
    clock: Clock = time.monotonic
    _poller: Poller | None = field(default=None, init=False)
    _began_at: float | None = field(default=None, init=False)

    @property
    def completed_at(self) -> float | None:
        """Return when a poll of this term succeeded last, or a takeover began."""
        completed = None if self._poller is None else self._poller.completed_at
        return self._began_at if completed is None else completed

    @property
    def error(self) -> str | None:
        """Return why the last poll of this term failed."""
        return None if self._poller is None else self._poller.error

    async def run(self) -> None:
        """Poll in each term, until cancelled; raise OperatorError."""
        while True:
            term = await self.leadership.wait_for_term()
            try:
                await self._poll(term)
            finally:
                self._poller = self._began_at = None

    async def _poll(self, term: Term) -> None:
        """Poll until a term is over."""
        if term.is_takeover:
            self._began_at = self.clock()
        self._poller = Poller(
            client=self.client,
            dispatcher=self.dispatcher,
            events=self.events,
            clock=self.clock,
            leadership=self.leadership,
            term=term,
        )
        polling = asyncio.create_task(self._poller.run())
        ended = asyncio.create_task(term.ended.wait())
        try:
            await asyncio.wait({polling, ended}, return_when=asyncio.FIRST_COMPLETED)
            if polling.done():
                polling.result()
        finally:
            for task in (polling, ended):
                task.cancel()
            await asyncio.gather(polling, ended, return_exceptions=True)
