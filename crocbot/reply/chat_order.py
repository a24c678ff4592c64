"""
Answers and pushed messages of a chat: the parts of one are never among the other's.

    answer   [part part part]                  [part]
    push                     [part part]
                             '-- waited for the answer to end

Several answers may be delivered at a time: that of a turn, and that of a /stop.  A
pushed message waits until no part of an answer is in the chat that has not ended, and
an answer begins after the pushed message.  An answer that the agent still works on,
with nothing in the chat, delays no pushed message.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class _Chat:
    """A chat in which something is delivered, or waits: `users` counts both."""

    users: int = 0
    answers: int = 0
    pushes_waiting: int = 0
    pushing: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def refuses_answers(self) -> bool:
        """Return whether a new answer has to wait."""
        # An answer beside another one must not wait for a push that waits for both.
        return self.pushing or (self.pushes_waiting > 0 and not self.answers)

    @property
    def refuses_pushes(self) -> bool:
        """Return whether a pushed message has to wait."""
        return self.pushing or self.answers > 0

    async def wait(self) -> None:
        """Wait for a change."""
        self.changed.clear()
        await self.changed.wait()


class ChatOrder:
    """What is delivered in each chat.  Event loop only."""

    def __init__(self) -> None:
        self._chats: dict[int, _Chat] = {}

    @property
    def is_idle(self) -> bool:
        """Return whether nothing is delivered in any chat."""
        return not self._chats

    def answer(self, chat_id: int) -> AnswerPlace:
        """Return the place of an answer in a chat, not yet taken."""
        return AnswerPlace(chat_id, self)

    @asynccontextmanager
    async def pushing(self, chat_id: int) -> AsyncIterator[None]:
        """Wait until no answer is being delivered; new ones wait until the exit."""
        chat = self._join(chat_id)
        chat.pushes_waiting += 1
        try:
            try:
                while chat.refuses_pushes:
                    await chat.wait()
            finally:
                chat.pushes_waiting -= 1
            chat.pushing = True
            try:
                yield
            finally:
                chat.pushing = False
        finally:
            self._leave(chat_id, chat)

    async def begin_answer(self, chat_id: int) -> None:
        """Wait until no pushed message is being delivered in a chat."""
        chat = self._join(chat_id)
        try:
            while chat.refuses_answers:
                await chat.wait()
        except BaseException:
            self._leave(chat_id, chat)
            raise
        chat.answers += 1

    def end_answer(self, chat_id: int) -> None:
        """Let pushed messages be delivered in a chat."""
        chat = self._chats[chat_id]
        chat.answers -= 1
        self._leave(chat_id, chat)

    def _join(self, chat_id: int) -> _Chat:
        chat = self._chats.setdefault(chat_id, _Chat())
        chat.users += 1
        return chat

    def _leave(self, chat_id: int, chat: _Chat) -> None:
        chat.users -= 1
        chat.changed.set()
        if not chat.users:
            del self._chats[chat_id]


@dataclass(slots=True)
class AnswerPlace:
    """The place of one answer in a chat; without an order it never waits."""

    chat_id: int = 0
    order: ChatOrder | None = None
    _taken: bool = field(default=False, init=False)
    _taking: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def take(self) -> None:
        """Wait for a pushed message that is being delivered, before the first part."""
        if self.order is None or self._taken:
            return
        # Two tasks of a growing answer may come here at a time.
        async with self._taking:
            if not self._taken:
                await self.order.begin_answer(self.chat_id)
                self._taken = True

    def leave(self) -> None:
        """Let pushed messages be delivered again, after the last part."""
        if self.order is not None and self._taken:
            self._taken = False
            self.order.end_answer(self.chat_id)
