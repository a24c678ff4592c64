"""
The agent's part of a turn: a Message to an answer that is delivered while it grows.

    Message --> Prompt --> agent --> pieces --> stream --> delivered
              (sessions,                 |
               images)                   '--> AgentCall, and the memory

What goes wrong in the agent only ends the answer: what came of it is delivered, and
then the error is raised.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from crocbot import log
from crocbot.agents import Agent, AnswerReader, Limits
from crocbot.errors import (
    AgentError,
    DeliveryError,
    FloodWaitError,
    StoreError,
    TelegramError,
)
from crocbot.events import AgentErrorReason, EventListener, FirstText
from crocbot.model import (
    ErrorEvent,
    ErrorType,
    Exchange,
    Image,
    Message,
    Prompt,
    Severity,
)
from crocbot.reply import SentReply, Stream
from crocbot.sessions import Sessions

MOST_IMAGES = 10

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True)
class Asking:
    """
    Asks one agent.  Shared by all turns.

    `download` loads a file, within so many bytes.
    """

    agent: Agent
    limits: Limits
    sessions: Sessions
    stream: Stream
    events: EventListener
    download: Callable[[str, int], Awaitable[bytes]]
    media_max_bytes: int = 0
    clock: Callable[[], float] = time.time

    async def ask(self, message: Message, shown: SentReply, said: list[str]) -> None:
        """Ask, deliver, remember; what was said is in `said`, whatever goes wrong."""
        hearing = AnswerReader(self.agent, await self._prompt(message), self.limits)
        fault: list[Exception] = []
        async with aclosing(self._heard(hearing, said, fault)) as texts:
            await self.stream.deliver(
                texts,
                shown,
                markdown=self.agent.markdown,
                private=message.private,
                seen=lambda: self.seen(message),
            )
        if fault:
            raise fault[0]
        if self.agent.remembers:
            await self._remember(message, hearing)

    def seen(self, message: Message) -> None:
        """Tell that the first words of the answer can be read."""
        self.events.emit(FirstText(max(0.0, self.clock() - message.accepted_at)))

    async def _heard(
        self, hearing: AnswerReader, said: list[str], fault: list[Exception]
    ) -> AsyncGenerator[str, None]:
        try:
            async with aclosing(hearing.pieces()) as pieces:
                async for piece in pieces:
                    said.append(piece)
                    yield piece
        except Exception as error:
            fault.append(error)
        self.events.emit(hearing.fact(_word(fault[0]) if fault else None))

    async def _prompt(self, message: Message) -> Prompt:
        if not self.agent.remembers:
            return Prompt(message)
        history: tuple[Exchange, ...] = ()
        try:
            history = await self.sessions.history(message.chat)
        except StoreError as error:
            self._forgotten("memory cannot be read", error)
        images = [image async for image in self._images(message)]
        return Prompt(message, history, tuple(images))

    async def _images(self, message: Message) -> AsyncGenerator[Image, None]:
        """The pictures that can be had; all media are described in words anyway."""
        most = self.media_max_bytes
        for medium in message.attachments[:MOST_IMAGES]:
            if not medium.is_image or not most or (medium.size or 0) > most:
                continue
            try:
                content = await self.download(medium.file_id or "", most)
            except (DeliveryError, TelegramError, FloodWaitError) as error:
                logger.warning("image not loaded", error=str(error))
                continue
            yield Image(medium.mime_type or "", content)

    async def _remember(self, message: Message, hearing: AnswerReader) -> None:
        exchange = Exchange(hearing.prompt.text, hearing.text)
        try:
            await self.sessions.remember(message.chat, exchange, hearing.usage)
        except StoreError as error:
            self._forgotten("memory cannot be written", error)

    def _forgotten(self, what: str, error: StoreError) -> None:
        """People are answered all the same."""
        logger.error(what, error=str(error))
        self.events.emit(ErrorEvent(ErrorType.INBOX, Severity.CRITICAL))


def _word(error: Exception) -> AgentErrorReason:
    return error.fault if isinstance(error, AgentError) else AgentErrorReason.OTHER
