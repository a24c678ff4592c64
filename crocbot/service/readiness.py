"""The conditions under which the gateway is ready, for /readyz."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from crocbot.botapi import LeaderPoller, Poller, Webhook
from crocbot.errors import InboxError
from crocbot.inbox import Inbox
from crocbot.model import Clock

MAX_POLL_AGE_SECONDS = 60.0
PROBE_EVERY_SECONDS = 5.0
PROBE_TIMEOUT_SECONDS = 2.0


class ReplicaState(Protocol):
    """What is known of this process among the replicas of the bot."""

    @property
    def database_error(self) -> str | None:
        """Return why the database gives no answer, None if it does."""

    @property
    def standby_note(self) -> str | None:
        """Return that another replica polls, and which; None if this one does."""


@dataclass(slots=True, kw_only=True)
class Readiness:
    """
    The state that the conditions follow from; the service keeps it up to date.

    `startup_error` is why Telegram could not be reached, until there is an
    `update_source`.  `replica` is None where no database is shared.
    """

    inbox: Inbox
    clock: Clock = time.monotonic
    update_source: Poller | LeaderPoller | Webhook | None = None
    startup_error: str | None = None
    replica: ReplicaState | None = None
    draining: bool = False
    _probed_at: float | None = field(default=None, init=False)
    _probe_task: asyncio.Task[None] | None = field(default=None, init=False)

    async def check(self) -> Mapping[str, str | None]:
        """Return each condition by its name: None if it holds, else why it fails."""
        conditions = {
            "telegram": self.telegram_error(),
            "inbox": await self._inbox(),
            "drain": "stopping" if self.draining else None,
        }
        if self.replica is not None:
            conditions["database"] = self.replica.database_error
        return conditions

    def notes(self) -> Mapping[str, str]:
        """Return what is to be known of conditions that hold, by their names."""
        note = self._standby_note()
        return {} if note is None else {"telegram": note}

    def inbox_error(self) -> str | None:
        """Return why updates cannot be stored, as far as is known; tries nothing."""
        return self.inbox.error

    def telegram_error(self) -> str | None:
        """Return why Telegram gives no updates, None if it does."""
        source = self.update_source
        if source is None:
            return _because("not reached yet", self.startup_error)
        if self._standby_note() is not None:
            return None
        completed = source.completed_at
        if completed is None:
            return _because(f"no {source.contact} has completed yet", source.error)
        age = self.clock() - completed
        if age > MAX_POLL_AGE_SECONDS:
            return _because(
                f"no {source.contact} has completed for {age:.0f} s", source.error
            )
        return None

    def _standby_note(self) -> str | None:
        """Return that this replica is a standby, once it has reached Telegram."""
        if self.replica is None or self.update_source is None:
            return None
        return self.replica.standby_note

    async def _inbox(self) -> str | None:
        """Return why an update could not be stored; a probe is at most every 5 s."""
        now = self.clock()
        if self._probe_task is None and (
            self._probed_at is None or now - self._probed_at >= PROBE_EVERY_SECONDS
        ):
            self._probe_task = asyncio.create_task(self._probe())
        if (task := self._probe_task) is not None:
            done, _ = await asyncio.wait({task}, timeout=PROBE_TIMEOUT_SECONDS)
            if not done:
                what = "disk" if self.replica is None else "database"
                timeout = f"gives no answer within {PROBE_TIMEOUT_SECONDS:g} s"
                return self.inbox.error or f"the {what} {timeout}"
            if self._probe_task is task:
                self._probe_task = None
            if (error := task.exception()) is not None:
                return f"{type(error).__name__}: {error}"
        return self.inbox.error

    async def _probe(self) -> None:
        # After a failure, which `inbox.error` holds, the next check probes again.
        self._probed_at = None
        with suppress(InboxError):
            await self.inbox.probe()
            self._probed_at = self.clock()


def _because(failure: str, reason: str | None) -> str:
    return f"{failure}: {reason}" if reason else failure
