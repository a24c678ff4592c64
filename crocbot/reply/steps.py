"""
The steps of a reply with files or buttons, each written down before and after.

    keep --> message --> message --> file --> file --> row closed, reply deleted
           |           |           |        |
           '-----------'-----------'--------'-- after a crash, the next step goes on

What was under way at the crash may be in the chat.  It is sent again, and counted.
A disk that cannot be written prevents no delivery: then a crash repeats all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from crocbot import log
from crocbot.errors import StoreError
from crocbot.model import Reply
from crocbot.outgoing import SentSteps

logger = log.logger(__name__)


class ReplyKeeper(Protocol):
    """Keeps replies on disk; the inbox has one.  Raises StoreError."""

    async def keep(self, update_id: int, reply: Reply, sent: SentSteps) -> None:
        """Keep a reply, whose files were added before."""

    async def record(self, update_id: int, sent: SentSteps) -> None:
        """Record how far a kept reply has been sent."""

    async def content(self, update_id: int, position: int) -> bytes:
        """Return the content of a file."""


@dataclass(slots=True, kw_only=True)
class ReplySteps:
    """
    The steps of the reply to one update.

    `sent` is how far an earlier process has sent it, None if this is the first try.
    """

    keeper: ReplyKeeper
    update_id: int
    sent: SentSteps | None = None
    _kept: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._kept = self.sent is not None

    @property
    def files(self) -> int:
        """Return how many files are sent."""
        return 0 if self.sent is None else self.sent.files

    @property
    def was_interrupted(self) -> bool:
        """Return whether it is not known if the next step is in the chat already."""
        return self.sent is not None and self.sent.unknown

    async def keep(self, reply: Reply, messages: Sequence[int]) -> None:
        """Keep a reply, of which these messages are in the chat, unless it is kept."""
        if self._kept:
            return
        self.sent = SentSteps(messages=tuple(messages))
        try:
            await self.keeper.keep(self.update_id, reply, self.sent)
        except StoreError as error:
            self._log(error)
        else:
            self._kept = True

    async def begin(self) -> None:
        """Write down that a step is under way."""
        if self.sent is not None:
            await self._record(replace(self.sent, unknown=True))

    async def end(self, messages: Sequence[int], *, files: int) -> None:
        """Write down what is in the chat now."""
        if self.sent is not None:
            await self._record(SentSteps(messages=tuple(messages), files=files))

    async def content(self, position: int) -> bytes:
        """Return the content of a file.  Raise StoreError."""
        return await self.keeper.content(self.update_id, position)

    async def _record(self, sent: SentSteps) -> None:
        if sent == self.sent:
            return
        self.sent = sent
        if self._kept:
            try:
                await self.keeper.record(self.update_id, sent)
            except StoreError as error:
                self._log(error)

    def _log(self, error: StoreError) -> None:
        logger.error("steps of a reply not kept", error=str(error))
