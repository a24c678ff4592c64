"""
How many turns run at a time: a bound, and one alone while there are suspects.

    suspects left?  yes --> one turn of a chat with a suspect, no other turn
                    no  --> `max_turns` turns

A suspect is a row whose turn was running when an earlier process crashed: it may be the
cause.  If the process crashes while a suspect runs alone, it was that row; if the
suspect's turn ends, it was another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from crocbot.model import Row


class TurnSlots:
    """The slots of one dispatcher.  A suspect is a row with `tries`."""

    def __init__(self, max_turns: int) -> None:
        self._slots = asyncio.Semaphore(max_turns)
        self._alone = asyncio.Lock()
        self._suspects = 0
        self._no_suspects = asyncio.Event()
        self._no_suspects.set()

    def add(self, rows: Iterable[Row]) -> None:
        """Count the suspects among rows that will run."""
        self._change(sum(row.tries > 0 for row in rows))

    def remove(self, rows: Iterable[Row]) -> None:
        """Count the suspects out, among rows that ran or will not run."""
        self._change(-sum(row.tries > 0 for row in rows))

    def _change(self, by: int) -> None:
        self._suspects += by
        if self._suspects:
            self._no_suspects.clear()
        else:
            self._no_suspects.set()

    @asynccontextmanager
    async def slot(self, waiting: Iterable[Row]) -> AsyncIterator[None]:
        """Wait until the next turn of a chat, in which these rows wait, may run."""
        if self._suspects and any(row.tries for row in waiting):
            async with self._alone:
                yield
        else:
            await self._no_suspects.wait()
            async with self._slots:
                yield
