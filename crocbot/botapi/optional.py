"""
Calls that a server may lack: drafts of answers, reactions, rich messages.

    send_draft(...) --> Client.call_chat --> Telegram
         |                    '-- 404: UnknownMethodError, and no further call
         '-- a flood wait delays no message

Each method is called until the server is found not to have it; that is logged once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from crocbot import log
from crocbot.botapi.bot import DEFAULT_SECONDS
from crocbot.botapi.client import Client, sent_message_id
from crocbot.botapi.entities import entities
from crocbot.botapi.parameters import keyboard, reply_parameters
from crocbot.errors import UnknownMethodError
from crocbot.events import Method
from crocbot.model import ChatThread, MessagePart
from crocbot.outgoing import Buttons

# Much less than for a message: what it shows is soon out of date.
COSMETIC_SECONDS = 5.0

logger = log.logger(__name__)


@dataclass(slots=True)
class OptionalCalls:
    """The optional methods of one server, and which of them it lacks."""

    client: Client
    _missing: set[Method] = field(default_factory=set, init=False)

    def has(self, method: Method) -> bool:
        """Return whether the server may have a method."""
        return method not in self._missing

    async def send_draft(
        self, chat: ChatThread, draft_id: int, part: MessagePart
    ) -> None:
        """
        Show a draft with a button that stops it; private chats only.

        Telegram shows it for 30 s, or until the bot sends a message to the chat.  With
        the same `draft_id` it replaces the last one.
        """
        await self._call(
            Method.SEND_MESSAGE_DRAFT,
            chat,
            message_thread_id=chat.thread_id,
            draft_id=draft_id,
            text=part.text,
            entities=entities(part),
            can_stop=True,
            keep_on_stop=True,
        )

    async def set_reaction(
        self, chat: ChatThread, message_id: int, emoji: str | None
    ) -> None:
        """Set the bot's reaction to a message; None removes it."""
        await self._call(
            Method.SET_MESSAGE_REACTION,
            chat,
            message_id=message_id,
            reaction=[{"type": "emoji", "emoji": emoji}] if emoji else [],
        )

    async def send_rich(
        self, chat: ChatThread, markdown: str, buttons: Buttons, reply_to: int | None
    ) -> int:
        """Send a rich message, as a reply to `reply_to`; return its id."""
        sent = await self._call(
            Method.SEND_RICH_MESSAGE,
            chat,
            cosmetic=False,
            seconds=DEFAULT_SECONDS,
            message_thread_id=chat.thread_id,
            rich_message={"markdown": markdown},
            reply_parameters=reply_parameters(reply_to),
            reply_markup=keyboard(buttons),
        )
        return sent_message_id(sent)

    async def edit_rich(
        self, chat: ChatThread, message_id: int, markdown: str, buttons: Buttons
    ) -> None:
        """Make a message a rich one."""
        await self.client.call_chat(
            Method.EDIT_MESSAGE_TEXT.value,
            chat,
            message_id=message_id,
            rich_message={"markdown": markdown},
            reply_markup=keyboard(buttons),
        )

    async def _call(
        self,
        method: Method,
        chat: ChatThread,
        *,
        cosmetic: bool = True,
        seconds: float = COSMETIC_SECONDS,
        **parameters: Any,
    ) -> Any:
        if not self.has(method):
            raise UnknownMethodError(f"the Bot API server has no {method}")
        try:
            return await self.client.call_chat(
                method.value,
                chat,
                cosmetic=cosmetic,
                seconds=seconds,
                **parameters,
            )
        except UnknownMethodError as error:
            if self.has(method):
                self._missing.add(method)
                logger.warning(
                    "the Bot API server lacks a method, which is not called again",
                    method=method.value,
                    error=str(error),
                )
            raise
