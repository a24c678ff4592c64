"""What must hold for the gateway to be ready, each by its name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from crocbot.errors import InboxError
from crocbot.inbox import Inbox

POLL_SECONDS = 60.0
PROBE_SECONDS = 5.0
ANSWER_SECONDS = 2.0


@dataclass(slots=True)
class Readiness:
    """
    Known to all of the service, which keeps it up to date.

    `heard` is the moment, on `clock`, when Telegram last spoke to us as it should: a
    poll that completed, or a look at the webhook.  `trouble` is what went wrong since.
    """

    inbox: Inbox
    clock: Callable[[], float] = time.monotonic
    greeted: bool = False
    draining: bool = False
    heard: Callable[[], float | None] = lambda: None
    trouble: Callable[[], str | None] = lambda: None
    _probed: float | None = field(default=None, init=False)
    _probing: asyncio.Task[None] | None = field(default=None, init=False)

    def note(self, why: str) -> None:
        """Remember what hinders us, until somebody knows better."""
        self.trouble = lambda: why

    async def all(self) -> Mapping[str, str | None]:
        """Look at everything; None is good."""
        return {
            "telegram": self._telegram(),
            "inbox": await self._inbox(),
            "drain": "stopping" if self.draining else None,
        }

    def _telegram(self) -> str | None:
        why = self.trouble()
        because = f": {why}" if why else ""
        if not self.greeted:
            return f"not reached yet{because}"
        heard = self.heard()
        if heard is None:
            return f"no poll has completed yet{because}"
        age = self.clock() - heard
        if age > POLL_SECONDS:
            return f"no poll has completed for {age:.0f} s{because}"
        return None

    async def _inbox(self) -> str | None:
        """Whether the next update could be stored; tried, but not at every question."""
        now = self.clock()
        if self._probing is None and (
            self._probed is None or now - self._probed >= PROBE_SECONDS
        ):
            self._probing = asyncio.create_task(self._probe())
        if self._probing is not None:
            done, _ = await asyncio.wait({self._probing}, timeout=ANSWER_SECONDS)
            if not done:
                silent = f"the disk gives no answer within {ANSWER_SECONDS:g} s"
                return self.inbox.fault or silent
            self._probing = None
        return self.inbox.fault

    async def _probe(self) -> None:
        try:
            await self.inbox.probe()
            self._probed = self.clock()
        except InboxError:
            # The inbox remembers it.
            self._probed = None
