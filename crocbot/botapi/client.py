"""
The few Bot API calls that the gateway makes.

    send_message(...) --> floods: may we? --> bot --> Telegram
                                               '-- ApiCall, FloodWait to `report`

`bot.py` tells what is raised.  While Telegram wants a chat, or all of them, to wait,
calls raise FloodWaitError at once and Telegram is not asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from crocbot.botapi.bot import Bot
from crocbot.botapi.floods import Floods
from crocbot.botapi.request import PLACEHOLDER, SECONDS, AiohttpRequest
from crocbot.botapi.webhook import Door
from crocbot.errors import (
    CrocbotError,
    DeliveryError,
    FloodWaitError,
    OperatorError,
    TelegramError,
)
from crocbot.facts import ApiCall, CallOutcome, FloodWait, Method, Report
from crocbot.model import Address, Identity, ReconnectReason

LONG_POLL = 30
MARGIN = 10.0
CONNECTIONS = 64
# How many calls of Telegram at once; those of one chat come one after the other.
CALLS = 40

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
        report: Report = lambda _: None,
        *,
        long_poll: int = LONG_POLL,
        margin: float = MARGIN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report = report
        self._long_poll = long_poll
        self._margin = margin
        self._clock = clock
        self._floods = Floods(clock)
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

    async def get_me(self) -> Identity:
        """Who we are; the first call to make, since it judges the token."""
        me = await self._call("getMe")
        if not isinstance(me, Mapping) or not isinstance(me.get("id"), int):
            raise TelegramError("getMe names no bot", ReconnectReason.NETWORK)
        return Identity(me["id"], str(me.get("username", "")))

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

    async def get_updates(self, offset: int, limit: int) -> Sequence[Any]:
        """Long-poll; the answer is a list, its entries are not looked at."""
        updates = await self._call(
            "getUpdates",
            seconds=self._long_poll + self._margin,
            offset=offset,
            limit=limit,
            timeout=self._long_poll,
            allowed_updates=WANTED,
        )
        if not isinstance(updates, list):
            raise TelegramError("getUpdates gave no list", ReconnectReason.NETWORK)
        return updates

    async def send_message(self, address: Address, text: str) -> None:
        """Send one message of plain text."""
        await self._call_chat(
            "sendMessage",
            address,
            message_thread_id=address.thread_id,
            text=text,
        )

    async def _call_chat(self, method: str, address: Address, **parameters: Any) -> Any:
        """Call a method about a chat, unless it, or the whole bot, has to wait."""
        self._floods.check(address.chat_id)
        try:
            return await self._call(method, chat_id=address.chat_id, **parameters)
        except FloodWaitError as error:
            self._floods.note(address.chat_id, error.seconds)
            raise

    async def _call(
        self, method: str, *, seconds: float = SECONDS, **parameters: Any
    ) -> Any:
        began = self._clock()
        outcome = CallOutcome.CANCELLED
        try:
            result = await self._bot.call(method, parameters, seconds)
            outcome = CallOutcome.OK
            return result
        except CrocbotError as error:
            outcome = _outcome(error)
            if isinstance(error, FloodWaitError):
                self._report(FloodWait(error.seconds))
            raise
        finally:
            took = self._clock() - began
            self._report(ApiCall(Method.of(method), outcome, took))


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
