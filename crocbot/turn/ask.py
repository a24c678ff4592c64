"""
The agent's step of a turn: Message to an answer that is delivered while it grows.

    Message --> Prompt ---> agent ---> texts ---> LiveDelivery
              (sessions,                 |
               images)                   '--> AgentCall, and the memory

If the agent fails in the middle of an answer, what arrived is delivered, and then the
error is raised.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crocbot import log
from crocbot.agents import Agent, AnswerReader, Timeouts
from crocbot.errors import (
    DeliveryError,
    FloodWaitError,
    StoreError,
    TelegramError,
)
from crocbot.events import EventListener
from crocbot.model import (
    ErrorEvent,
    Exchange,
    Image,
    Message,
    Prompt,
)
from crocbot.reply import LiveDelivery, ReplyProgress
from crocbot.sessions import Sessions

if TYPE_CHECKING:
    from crocbot.botapi import Client

MAX_IMAGES = 10

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStep:
    """Asks one agent; shared by all turns.  Images over the limit are not loaded."""

    agent: Agent
    timeouts: Timeouts
    sessions: Sessions
    client: Client
    live: LiveDelivery
    events: EventListener
    redactor: log.Redactor
    max_image_bytes: int = 0

    async def ask(self, message: Message, progress: ReplyProgress) -> None:
        """Deliver the agent's answer and remember it.  Raise TurnError."""
        reader = AnswerReader(
            agent=self.agent,
            prompt=await self._prompt(message),
            timeouts=self.timeouts,
            events=self.events,
            redactor=self.redactor,
        )
        async with aclosing(reader.texts()) as texts:
            await self.live.deliver(
                texts, progress, markdown=self.agent.markdown, private=message.private
            )
        if reader.error is not None:
            raise reader.error
        if self.agent.remembers:
            await self._remember(message, reader)

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
        small = [
            each
            for each in message.attachments
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

    async def _remember(self, message: Message, reader: AnswerReader) -> None:
        exchange = Exchange(reader.prompt.text, reader.text)
        try:
            await self.sessions.remember(message.chat, exchange, reader.usage)
        except StoreError as error:
            self._report_store_error("conversation history cannot be written", error)

    def _report_store_error(self, event: str, error: StoreError) -> None:
        """Log and count an error; the agent answers without a history."""
        logger.error(event, error=str(error))
        self.events.emit(ErrorEvent(error.type, error.severity))
