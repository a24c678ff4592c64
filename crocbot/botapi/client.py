"""
The few Bot API calls that the gateway makes.

    send_message(...) --> floods: may we? --> bot --> Telegram
                                               '-- ApiCall, FloodWait to `events`

`bot.py` tells what is raised.  While Telegram wants a chat, or all of them, to wait,
calls raise FloodWaitError at once and Telegram is not asked.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self, TypeVar

from crocbot.botapi.bot import Bot
from crocbot.botapi.flood_control import FloodControl
from crocbot.botapi.request import PLACEHOLDER, SECONDS, AiohttpRequest
from crocbot.botapi.webhook import Door
from crocbot.errors import (
    ChatMovedError,
    CrocbotError,
    DeliveryError,
    FloodWaitError,
    OperatorError,
    TelegramError,
)
from crocbot.events import (
    NO_EVENTS,
    ApiCall,
    CallOutcome,
    EventListener,
    FloodWait,
    Method,
)
from crocbot.model import BotIdentity, ChatThread, MessagePart, ReconnectReason

LONG_POLL = 30
MARGIN = 10.0
CONNECTIONS = 64
# How many calls of Telegram at once; those of one chat come one after the other.
CALLS = 40

NOT_MODIFIED = "message is not modified"
FILE_SECONDS = 60.0
# As photos/file_1.jpg; a server of one's own may tell a path of its own disk.
PATH = re.compile(r"[A-Za-z0-9_][\w./ -]{0,500}")

Result = TypeVar("Result")

# Nothing else is read; Telegram keeps what is not named from us.
WANTED = ("message",)


class Client:
    """
    The Bot API for one bot.  Enter it inside the event loop.

    A poll waits `long_poll` seconds at Telegram and `margin` more for its answer.
    """

    def __init__(
        self,
        token: str,
        api_url: str,
        events: EventListener = NO_EVENTS,
        *,
        long_poll: int = LONG_POLL,
        margin: float = MARGIN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._events = events
        self._long_poll = long_poll
        self._margin = margin
        self._clock = clock
        self._floods = FloodControl(clock)
        # Two pools: a hanging poll and a burst of replies never wait for each other.
        self._bot = Bot(
            PLACEHOLDER,
            base_url=f"{api_url}/bot",
            base_file_url=f"{api_url}/file/bot",
            request=AiohttpRequest(token, api_url, connections=CONNECTIONS),
            get_updates_request=AiohttpRequest(token, api_url, connections=1),
        )

    async def __aenter__(self) -> Self:
        for request in self._bot.requests:
            await request.initialize()
        return self

    async def __aexit__(self, *_: object) -> None:
        for request in self._bot.requests:
            await request.shutdown()

    async def renew_polling(self) -> None:
        """Poll over new connections from now on; the old ones are given up."""
        await self._bot.requests[0].renew()

    async def get_me(self) -> BotIdentity:
        """Who we are; the first call to make, since it judges the token."""
        me = await self._call("getMe")
        if not isinstance(me, Mapping) or not isinstance(me.get("id"), int):
            raise TelegramError("getMe names no bot", ReconnectReason.NETWORK)
        return BotIdentity(me["id"], str(me.get("username", "")))

    async def set_webhook(self, door: Door) -> None:
        """Let Telegram call us; what waits for us stays."""
        await self._call(
            "setWebhook",
            url=door.url,
            secret_token=door.secret,
            max_connections=CALLS,
            allowed_updates=WANTED,
        )

    async def delete_webhook(self) -> None:
        """Make polling possible; what waits for us stays."""
        await self._call("deleteWebhook")

    async def get_webhook_info(self) -> Mapping[str, Any]:
        """How Telegram gets on with our webhook."""
        info = await self._call("getWebhookInfo")
        if not isinstance(info, Mapping):
            raise TelegramError("getWebhookInfo tells nothing", ReconnectReason.NETWORK)
        return info

    async def set_my_commands(self, menu: Mapping[str, str]) -> None:
        """Show these commands in everybody's menu."""
        commands = [{"command": name, "description": menu[name]} for name in menu]
        await self._call("setMyCommands", commands=commands)

    async def get_updates(
        self, offset: int, limit: int, patient: bool = True
    ) -> Sequence[Any]:
        """Poll, with patience until there is news; the entries are not looked at."""
        updates = await self._call(
            "getUpdates",
            seconds=self._long_poll + self._margin,
            offset=offset,
            limit=limit,
            timeout=self._long_poll if patient else 0,
            allowed_updates=WANTED,
        )
        if not isinstance(updates, list):
            raise TelegramError("getUpdates gave no list", ReconnectReason.NETWORK)
        return updates

    async def send_message(
        self, chat: ChatThread, piece: MessagePart, reply_to: int | None = None
    ) -> int:
        """Send one message, as an answer to another one; returns its id."""
        quoted = {"message_id": reply_to, "allow_sending_without_reply": True}
        sent = await self._call_chat(
            "sendMessage",
            chat,
            message_thread_id=chat.thread_id,
            text=piece.text,
            entities=_entities(piece),
            reply_parameters=None if reply_to is None else quoted,
        )
        message_id = sent.get("message_id") if isinstance(sent, Mapping) else None
        # It was sent, whatever the answer looks like; 0 is a message that nobody has.
        return message_id if isinstance(message_id, int) else 0

    async def edit_message(
        self, chat: ChatThread, message_id: int, piece: MessagePart
    ) -> None:
        """Replace what a message says."""
        try:
            await self._call_chat(
                "editMessageText",
                chat,
                message_id=message_id,
                text=piece.text,
                entities=_entities(piece),
            )
        except DeliveryError as error:
            # An answer that was lost on its way leaves the message as it should be.
            if NOT_MODIFIED not in str(error).lower():
                raise

    async def delete_message(self, chat: ChatThread, message_id: int) -> None:
        """Take a message back."""
        await self._call_chat("deleteMessage", chat, message_id=message_id)

    async def send_typing(self, chat: ChatThread) -> None:
        """Show for five seconds that an answer is on its way."""
        await self._call_chat(
            "sendChatAction",
            chat,
            message_thread_id=chat.thread_id,
            action="typing",
        )

    async def download(self, file_id: str, most_bytes: int) -> bytes:
        """
        Load a file that somebody sent; DeliveryError if it is too large.

        Its link has the token in it and stays in here.
        """
        found = await self._call("getFile", file_id=file_id)
        path = found.get("file_path") if isinstance(found, Mapping) else None
        if not isinstance(path, str) or not PATH.fullmatch(path) or ".." in path:
            raise DeliveryError("Telegram has no file to load")
        size = found.get("file_size")
        if isinstance(size, int) and size > most_bytes:
            raise DeliveryError(f"the file has {size} bytes, more than {most_bytes}")
        content = await self._told(Method.FILE, self._bot.load(path, FILE_SECONDS))
        if len(content) > most_bytes:
            raise DeliveryError(f"the file has more than {most_bytes} bytes")
        return content

    async def _call_chat(self, method: str, chat: ChatThread, **parameters: Any) -> Any:
        """Call a method about a chat, unless it, or the whole bot, has to wait."""
        self._floods.check(chat.chat_id)
        try:
            return await self._call(method, chat_id=chat.chat_id, **parameters)
        except FloodWaitError as error:
            self._floods.note(chat.chat_id, error.seconds)
            raise
        except ChatMovedError as error:
            # Only once: what moved there is a supergroup, which stays.
            return await self._call(method, chat_id=error.chat_id, **parameters)

    async def _call(
        self, method: str, *, seconds: float = SECONDS, **parameters: Any
    ) -> Any:
        call = self._bot.call(method, parameters, seconds)
        return await self._told(Method.of(method), call)

    async def _told(self, method: Method, call: Awaitable[Result]) -> Result:
        """Make a call, and tell how it went."""
        began = self._clock()
        outcome = CallOutcome.CANCELLED
        try:
            result = await call
            outcome = CallOutcome.OK
            return result
        except CrocbotError as error:
            outcome = _outcome(error)
            if isinstance(error, FloodWaitError):
                self._events.emit(FloodWait(error.seconds))
            raise
        finally:
            took = self._clock() - began
            self._events.emit(ApiCall(method, outcome, took))


def _entities(piece: MessagePart) -> list[dict[str, Any]] | None:
    """How a text looks, in Telegram's form; None for a text that has no looks."""
    return [
        {name: value for name, value in asdict(entity).items() if value is not None}
        for entity in piece.entities
    ] or None


def _outcome(error: CrocbotError) -> CallOutcome:
    match error:
        case FloodWaitError():
            return CallOutcome.FLOOD_WAIT
        case OperatorError():
            return CallOutcome.UNAUTHORIZED
        case DeliveryError():
            return CallOutcome.REFUSED
        case TelegramError():
            return CallOutcome(error.reason.value)
        case _:
            return CallOutcome.NETWORK
