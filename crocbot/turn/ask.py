"""
The agent's step of a turn: Message to an answer that is delivered while it grows.

    Message --> Prompt ---> agent ---> texts ---> LiveDelivery
              (sessions,                 |
               images)                   '--> AgentCall, and the memory

If the agent fails in the middle of an answer, what arrived is delivered, and then the
error is raised.  A part of an answer that stands in the chat is remembered, marked as
cut, so that the person can ask for the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crocbot import log
from crocbot.agents import Agent, AnswerReader, ThinkingTags, Timeouts
from crocbot.content import Image
from crocbot.errors import (
    AgentError,
    DeliveryError,
    FloodWaitError,
    StoreError,
    TelegramError,
)
from crocbot.events import AgentErrorReason, EventListener
from crocbot.model import ErrorEvent, Exchange, Message, Prompt, Usage
from crocbot.reply import LiveDelivery, ReplyProgress
from crocbot.sessions import Sessions
from crocbot.text import is_visible

if TYPE_CHECKING:
    from crocbot.botapi import Client

MAX_IMAGES = 10
CUT_MARK = "\n\n[The answer was cut off here.]"
"""What a part of an answer ends with in the memory."""

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True)
class StoppedAnswer:
    """The part of an answer that the chat shows, and the tokens that it took."""

    message: Message
    exchange: Exchange
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStep:
    """
    Asks one agent; shared by all turns.  Images over the limit are not loaded.

    `thinking` is None if answers are shown with what the model thinks before them.
    `stopped` has the answers that were cancelled, by update id, until it is known
    whether they were stopped or will be asked for again.
    """

    agent: Agent
    timeouts: Timeouts
    sessions: Sessions
    client: Client
    live: LiveDelivery
    events: EventListener
    redactor: log.Redactor
    thinking: ThinkingTags | None = field(default_factory=ThinkingTags)
    max_image_bytes: int = 0
    stopped: dict[int, StoppedAnswer] = field(default_factory=dict)

    async def ask(self, message: Message, progress: ReplyProgress) -> None:
        """Deliver the agent's answer and remember it.  Raise TurnError."""
        reader = AnswerReader(
            agent=self.agent,
            prompt=await self._prompt(message),
            timeouts=self.timeouts,
            events=self.events,
            redactor=self.redactor,
            thinking=self.thinking if self.agent.markdown else None,
        )
        try:
            async with aclosing(reader.texts()) as texts:
                await self.live.deliver(
                    texts,
                    progress,
                    markdown=self.agent.markdown,
                    private=message.private,
                )
        except asyncio.CancelledError:
            exchange = _cut(reader, progress.shown_text)
            self.stopped[message.update_id] = StoppedAnswer(
                message, exchange, reader.usage
            )
            raise
        if reader.error is None:
            exchange = Exchange(reader.prompt.remembered, reader.text)
        else:
            exchange = _cut(reader, reader.text)
        await self._remember(message, exchange, reader.usage)
        if reader.error is not None:
            raise reader.error

    async def remember_stopped(self, update_ids: Iterable[int]) -> None:
        """Remember what the chat shows of answers that will not go on."""
        for update_id in update_ids:
            stopped = self.stopped.pop(update_id, None)
            if stopped is not None:
                await self._remember(stopped.message, stopped.exchange, stopped.usage)

    async def _prompt(self, message: Message) -> Prompt:
        if not self.agent.remembers:
            return Prompt(message)
        history: tuple[Exchange, ...] = ()
        try:
            history = await self.sessions.history(message.chat)
        except StoreError as error:
            self._report_store_error("conversation history cannot be read", error)
        images = [image async for image in self._images(message)]
        return Prompt(message, history, tuple(images))

    async def _images(self, message: Message) -> AsyncGenerator[Image, None]:
        """Load images; the prompt describes in words those that cannot be loaded."""
        quoted = message.context.quoted
        small = [
            each
            for each in (*message.attachments, *(quoted.attachments if quoted else ()))
            if each.is_image and (each.size or 0) <= self.max_image_bytes
        ]
        for each in small[: MAX_IMAGES if self.max_image_bytes else 0]:
            try:
                content = await self.client.download(
                    each.file_id or "", self.max_image_bytes
                )
            except (DeliveryError, TelegramError, FloodWaitError) as error:
                logger.warning("image not loaded", error=str(error))
                continue
            yield Image(each.mime_type or "", content)

    async def _remember(
        self, message: Message, exchange: Exchange, usage: Usage
    ) -> None:
        """Remember an exchange, unless the agent has no memory or it has no answer."""
        if not (self.agent.remembers and exchange.answer):
            return
        try:
            await self.sessions.remember(message.chat, exchange, usage)
        except StoreError as error:
            self._report_store_error("conversation history cannot be written", error)

    def _report_store_error(self, event: str, error: StoreError) -> None:
        """Log and count an error; the agent answers without a history."""
        logger.error(event, error=str(error))
        self.events.emit(ErrorEvent(error.type, error.severity))


def _cut(reader: AnswerReader, text: str) -> Exchange:
    """
    Return an exchange whose answer has only this part.

    A filter that ended the answer would refuse it in the history as well: none of it
    is kept then.
    """
    error = reader.error
    filtered = (
        isinstance(error, AgentError) and error.reason is AgentErrorReason.REFUSED
    )
    keep = is_visible(text) and not filtered
    answer = f"{text}{CUT_MARK}" if keep else ""
    return Exchange(reader.prompt.remembered, answer)
