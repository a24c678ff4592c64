"""
Which replica is the leader: only that one polls, tells alerts, and tidies.

    Heartbeat --> Leader.renewed(...) --> Term --> LeaderPoller, Maintenance, Alerts
                  Leader.lost(...)         '-- ended, at the latest when its lease may
                                               be taken by another replica

A term is the time of one lease, whose epoch is larger than that of every lease before.
What the leader stores of polls has the epoch in its WHERE, so a leader that was paused
and does not know yet that its term is over stores nothing.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Protocol

from crocbot import log
from crocbot.model import Clock
from crocbot.replicas.times import MARGIN_SECONDS, OWNED_SECONDS

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True)
class Term:
    """
    A time as the leader: `ended` is set when it is over.

    `epoch` is that of its lease; None without a lease, of a gateway that shares no
    database.  `is_takeover` means that this replica has waited for it as a standby.
    """

    epoch: int | None = None
    is_takeover: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Leadership(Protocol):
    """Whether this replica is the leader."""

    @property
    def term(self) -> Term | None:
        """Return the present term; None while this replica is a standby."""

    @property
    def leader(self) -> str | None:
        """Return the name of the leader; None if none is known, or none is needed."""

    async def wait_for_term(self) -> Term:
        """Wait until this replica is the leader."""

    async def confirm(self, term: Term) -> bool:
        """Return whether a term still lasts, as far as the database can be asked."""


class TermListener(Protocol):
    """Receives each begin and each end of a term."""

    def changed(self, epoch: int | None) -> None:
        """Take the epoch of the term that begins, None when one has ended."""


class SoleLeader:
    """The Leadership of a gateway that shares no database: its term never ends."""

    def __init__(self) -> None:
        self._term = Term()

    @property
    def term(self) -> Term | None:
        """Return the only term."""
        return self._term

    @property
    def leader(self) -> str | None:
        """Return None: there is no other replica."""
        return None

    async def wait_for_term(self) -> Term:
        """Return the only term."""
        return self._term

    async def confirm(self, term: Term) -> bool:
        """Return whether a term lasts: the only one does."""
        return not term.ended.is_set()


class Leader:
    """
    What this replica knows of the lease of the leader.  Event loop only.

    The heartbeat reports what the database answered.  `clock` is monotonic, and goes on
    while the process is stopped.  `listener` receives changes.
    """

    def __init__(self, name: str, clock: Clock = time.monotonic) -> None:
        self.name = name
        self.listener: TermListener | None = None
        self.asked = asyncio.Event()
        self._clock = clock
        self._term: Term | None = None
        self._has_term = asyncio.Event()
        self._owned_until = 0.0
        self._expiry: asyncio.TimerHandle | None = None
        self._leader: str | None = None
        self._was_standby = False
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def term(self) -> Term | None:
        """Return the present term; None once another replica may be the leader."""
        if self._term is not None and self._clock() >= self._owned_until:
            self._expire()
        return self._term

    @property
    def leader(self) -> str | None:
        """Return the name of the leader, as the database last said."""
        return self._leader

    async def wait_for_term(self) -> Term:
        """Wait until this replica is the leader."""
        while (term := self.term) is None:
            await self._has_term.wait()
        return term

    async def confirm(self, term: Term) -> bool:
        """
        Ask the database whether a term still lasts.

        Without an answer in time it is as far as is known.
        """
        answered = asyncio.get_running_loop().create_future()
        self._waiting.append(answered)
        self.asked.set()
        await asyncio.wait({answered}, timeout=MARGIN_SECONDS)
        return self.term is term

    def take_waiting(self) -> list[asyncio.Future[None]]:
        """Return the calls of confirm() that the next answer of the database ends."""
        waiting, self._waiting = self._waiting, []
        self.asked.clear()
        return waiting

    def owns(self, epoch: int, sent_at: float) -> None:
        """Take that this replica has the lease, by a statement sent at a time."""
        self._owned_until = sent_at + OWNED_SECONDS
        self._leader = self.name
        if self._term is not None and self._term.epoch == epoch:
            self._schedule_expiry()
            return
        self._end()
        if self._clock() >= self._owned_until:
            return
        self._term = Term(epoch, is_takeover=self._was_standby)
        self._was_standby = False
        self._schedule_expiry()
        self._has_term.set()
        self._notify(epoch)
        logger.info("this replica is the leader now", replica=self.name, epoch=epoch)

    def sees(self, leader: str | None) -> None:
        """Take that another replica has the lease, or that none has."""
        if self._term is not None:
            logger.warning(
                "this replica is not the leader any more",
                replica=self.name,
                leader=leader,
            )
        elif leader is not None and leader != self._leader:
            logger.info("standby: another replica is the leader", leader=leader)
        self._end()
        self._leader = leader
        self._was_standby = leader is not None

    def resign(self) -> Term | None:
        """End the term, if there is one, and return it: its lease can be given back."""
        term = self.term
        self._end()
        self._leader = None
        return term

    def _expire(self) -> None:
        if self._term is None:
            return
        if self._clock() < self._owned_until:
            # The timer of the event loop is not exact.
            self._schedule_expiry()
            return
        logger.warning(
            "this replica stops as the leader: the database did not renew its lease",
            replica=self.name,
            epoch=self._term.epoch,
        )
        self._end()
        # Another replica may begin before this one knows of it.
        self._was_standby = True
        self._leader = None

    def _end(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        term, self._term = self._term, None
        self._has_term.clear()
        if term is not None:
            term.ended.set()
            self._notify(None)

    def _notify(self, epoch: int | None) -> None:
        if self.listener is not None:
            self.listener.changed(epoch)

    def _schedule_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        delay = max(self._owned_until - self._clock(), 0.0)
        self._expiry = asyncio.get_running_loop().call_later(delay, self._expire)
