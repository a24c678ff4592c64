"""
The conversations in a database that replicas share.

    remember() --> one statement: only under the lease of the chat
                   '-- what the answer took is counted in any case

As several statements it would be a transaction that waits for those of all replicas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from crocbot import leases
from crocbot.errors import LeaseLostError
from crocbot.leases import Lease
from crocbot.leases_sql import CHANNEL
from crocbot.model import Exchange, Usage
from crocbot.sessions import ADD_TOKENS, Key, Sessions
from crocbot.store import Connection, Write

# Each part sees the tables as they were before the statement: what is added is not in
# what `pruned` counts.
REMEMBER = f"""
WITH held AS (
    SELECT 1 FROM chats WHERE chat = :lease AND epoch = :epoch FOR SHARE
), counted AS (
    INSERT INTO tokens (chat_id, thread_id, answers, input_tokens, output_tokens)
    SELECT :chat, :thread, 1, :input, :output FROM held{ADD_TOKENS}
), added AS (
    INSERT INTO exchanges (chat_id, thread_id, asked, answered)
    SELECT :chat, :thread, :asked, :answered FROM held WHERE :added = 1
), pruned AS (
    DELETE FROM exchanges WHERE EXISTS (SELECT FROM held) AND id IN (
        SELECT id FROM exchanges WHERE chat_id = :chat AND thread_id = :thread
        ORDER BY id DESC OFFSET :older
    )
)"""  # noqa: S608
END = "\nSELECT count(*) FROM held"


class LeasedSessions(Sessions):
    """Conversations that only the holder of the chat's lease continues."""

    async def move(self, old: int, new: int) -> None:
        """Make everything of a chat that of its new id; notify the other replicas."""
        await super().move(old, new)
        await self.store.run(_notify_moves, atomic=False)

    async def write(
        self,
        key: Key,
        exchange: Exchange | None,
        usage: Usage,
        counts: Sequence[Write],
    ) -> None:
        """Store an exchange, as in Sessions.  Raise LeaseLostError."""
        lease = leases.current()
        if lease is None:
            await super().write(key, exchange, usage, counts)
            return
        added = int(exchange is not None)
        chat, thread = key
        values = {
            "lease": lease.chat,
            "epoch": lease.epoch,
            "chat": chat,
            "thread": thread,
            "input": usage.input_tokens,
            "output": usage.output_tokens,
            "asked": "" if exchange is None else exchange.prompt,
            "answered": "" if exchange is None else exchange.answer,
            "added": added,
            "older": max(self.turns - added, 0),
        }
        job = partial(_remember, lease=lease, values=values, counts=counts)
        await self.store.run(job, atomic=False)


def _notify_moves(connection: Connection) -> None:
    connection.execute(f"SELECT pg_notify('{CHANNEL}', 'moves')").fetchall()


def _remember(
    connection: Connection,
    lease: Lease,
    values: Mapping[str, Any],
    counts: Sequence[Write],
) -> None:
    """Store an exchange and counts; raise LeaseLostError if these are all."""
    statement = REMEMBER
    for number, each in enumerate(counts):
        statement += f", count_{number} AS ({each.statement})"
        values = {**values, **each.values}
    if not connection.execute(statement + END, values).fetchone()[0]:
        raise LeaseLostError(lease.chat)
