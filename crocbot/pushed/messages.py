"""
The pushed messages for the event loop.

    add --> open row --> sent, or failed with a reason

Steps of a message survive the end of the process, not a power cut, after which the
message may be sent twice.
"""

from __future__ import annotations

import asyncio
from functools import partial

from crocbot.errors import LeaseLostError, StoreError
from crocbot.events import PushedState
from crocbot.model import Reply, Sleep
from crocbot.outgoing import SentSteps
from crocbot.pushed import sql
from crocbot.pushed.request import PushedMessage
from crocbot.pushed.sql import Push
from crocbot.store import Store

RETRY_SECONDS = 1.0


class PushedMessages:
    """
    The rows in the file of `store`, which has the SCHEMA; a ReplyKeeper of each.

    `added` is set when a message was added in this process.
    """

    def __init__(self, store: Store, *, sleep: Sleep = asyncio.sleep) -> None:
        self._store = store
        self._sleep = sleep
        self.added = asyncio.Event()

    async def add(self, message: PushedMessage) -> int:
        """Store a message; return its id.  Raise PushedFullError or StoreError."""
        now = self._store.clock.read().time
        push_id = await self._store.run(partial(sql.add, message=message, now=now))
        self.added.set()
        return push_id

    def age(self, push: Push) -> float:
        """Return how long ago a message was accepted."""
        return self._store.clock.read().time - push.accepted_at

    async def open_rows(self) -> list[tuple[int, int]]:
        """Return the id and the chat of each open row, oldest first."""
        return await self._store.run(sql.open_rows, write=False, atomic=False)

    async def load(self, push_id: int) -> Push | None:
        """Return an open row; None if it is closed."""
        return await self._store.run(partial(sql.load, push_id=push_id), write=False)

    async def state(self) -> PushedState:
        """Return the number of rows by state."""
        return await self._store.run(sql.state, write=False)

    async def close(self, push_id: int, reason: str | None = None) -> None:
        """
        Close a row as sent, or as failed; tried until it is on disk.

        Raise LeaseLostError if another replica sends to its chat.
        """
        while True:
            now = self._store.clock.read()
            job = partial(
                sql.close,
                push_id=push_id,
                reason=reason,
                now=now.time,
                retention=now.retention,
            )
            try:
                await self._store.run(job)
            except LeaseLostError:
                raise
            except StoreError:
                await self._sleep(RETRY_SECONDS)
            else:
                return

    async def tidy(self) -> None:
        """Delete closed rows that are too old."""
        retention = self._store.clock.read().retention
        await self._store.run(partial(sql.delete_expired, retention=retention))

    async def keep(self, update_id: int, reply: Reply, sent: SentSteps) -> None:  # noqa: ARG002
        """Record how far a message has been sent, which was kept before."""
        await self.record(update_id, sent)

    async def record(self, update_id: int, sent: SentSteps) -> None:
        """Record how far a message has been sent; `update_id` is the row's id."""
        job = partial(sql.record, push_id=update_id, sent=sent)
        await self._store.run(job, durable=False)

    async def content(self, update_id: int, position: int) -> bytes:  # noqa: ARG002
        """Return the content of the file of a message."""
        found = await self._store.run(
            partial(sql.content, push_id=update_id), write=False, atomic=False
        )
        if found is None:
            raise StoreError("the file of a message is not there")
        return found
