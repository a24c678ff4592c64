"""
Flood waits of Telegram (HTTP 429), shared by the replicas of a bot.

    429 to a call here --> written down, with a notification --> FloodControl elsewhere
                            |-- of the whole bot: also read with each heartbeat
                            '-- of the chat: with its lease, for its next holder

Telegram does not say whether the limit of a chat or of the bot was reached: several
chats within seconds mean the bot, whichever replicas they are at.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Sequence
from functools import partial
from math import isfinite

from crocbot import leases, leases_sql, log
from crocbot.backoff import FloodControl
from crocbot.errors import StoreError
from crocbot.leases_sql import Key
from crocbot.replicas.heartbeat import Beat
from crocbot.store import Connection, Store

MAX_WAITING = 1000
MAX_FLOOD_SECONDS = 86_400.0
WORDS = 3

logger = log.logger(__name__)

# A longer wait stays.  The notification is sent with the commit.
SHARE = """
WITH everyone AS (
    INSERT INTO shared (name, at)
    SELECT 'flood', clock_timestamp() + make_interval(secs => :everyone)
    WHERE :everyone > 0
    ON CONFLICT (name) DO UPDATE SET at = greatest(shared.at, excluded.at)
)
SELECT pg_notify('crocbot', :payload)
"""


class SharedFloods:
    """A FloodListener, a BeatListener and a WakeListener.  Event loop only."""

    def __init__(self, store: Store, floods: FloodControl, name: str) -> None:
        self._store = store
        self._floods = floods
        self._name = name
        self._waiting: dict[int, tuple[float, Key | None]] = {}
        self._writing: asyncio.Task[None] | None = None

    def recorded(self, chat_id: int, seconds: float) -> None:
        """Share a 429 to a call of this replica."""
        if len(self._waiting) < MAX_WAITING:
            lease = leases.current()
            key = None if lease is None else (lease.chat, lease.epoch)
            self._waiting[chat_id] = (seconds, key)
        if self._writing is None:
            # It is for several chats, so it must not have the lease of one of them.
            self._writing = asyncio.get_running_loop().create_task(
                self._write(), context=contextvars.Context()
            )

    async def follow(self, beat: Beat) -> None:
        """Take how long the whole bot has to wait."""
        self._floods.follow_everyone(min(beat.flood_seconds, MAX_FLOOD_SECONDS))

    def woken(self, words: Sequence[str]) -> None:
        """Take a 429 of another replica: its name, the chat, and the seconds."""
        if len(words) != WORDS or words[0] == self._name:
            return
        try:
            chat_id, seconds = int(words[1]), float(words[2])
        except ValueError:
            return
        if isfinite(seconds) and 0 < seconds <= MAX_FLOOD_SECONDS:
            self._floods.follow(chat_id, seconds)

    async def close(self) -> None:
        """End what is being written."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    async def _write(self) -> None:
        try:
            while self._waiting:
                chat_id, (seconds, key) = next(iter(self._waiting.items()))
                del self._waiting[chat_id]
                await self._share(chat_id, seconds, key)
        finally:
            self._writing = None

    async def _share(self, chat_id: int, seconds: float, key: Key | None) -> None:
        values = {
            "everyone": min(self._floods.everyone_waits, MAX_FLOOD_SECONDS),
            "payload": f"flood {self._name} {chat_id} {seconds:g}",
        }
        try:
            await self._store.run(partial(_execute, values=values), atomic=False)
            if key is not None:
                job = partial(leases_sql.set_flood, key=key, seconds=seconds)
                await self._store.run(job, atomic=False)
        except StoreError as error:
            # The other replicas find out from Telegram.
            logger.debug("a flood wait was not shared", error=str(error))


def _execute(connection: Connection, values: dict[str, object]) -> None:
    connection.execute(SHARE, values).fetchall()
