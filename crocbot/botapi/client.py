"""
The few Bot API calls that the gateway makes; Telegram's errors become ours.

| Telegram, or the network             | raised                                |
|--------------------------------------|---------------------------------------|
| 401, 404 in Telegram's own words     | OperatorError: the token is wrong     |
| 429                                  | FloodWaitError                        |
| 409                                  | TelegramError, CONFLICT               |
| no answer in time                    | TelegramError, TIMEOUT                |
| 400, 403                             | DeliveryError: asking again is no use |
| no connection, 5xx, not a Bot API    | TelegramError, NETWORK                |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import telegram
import telegram.error

from crocbot.botapi.request import PLACEHOLDER, SECONDS, AiohttpRequest, FloodError
from crocbot.errors import (
    CrocbotError,
    DeliveryError,
    FloodWaitError,
    OperatorError,
    TelegramError,
)
from crocbot.model import Address, Identity, ReconnectReason

LONG_POLL = 30
MARGIN = 10.0
CONNECTIONS = 64

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
        *,
        long_poll: int = LONG_POLL,
        margin: float = MARGIN,
    ) -> None:
        self._long_poll = long_poll
        self._margin = margin
        # Two pools: a hanging poll and a burst of replies never wait for each other.
        self._bot = _Bot(
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

    async def get_me(self) -> Identity:
        """Who we are; the first call to make, since it judges the token."""
        me = await self._call("getMe")
        if not isinstance(me, Mapping) or not isinstance(me.get("id"), int):
            raise TelegramError("getMe names no bot", ReconnectReason.NETWORK)
        return Identity(me["id"], str(me.get("username", "")))

    async def delete_webhook(self) -> None:
        """Make polling possible; what waits for us stays."""
        await self._call("deleteWebhook")

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
        await self._call(
            "sendMessage",
            chat_id=address.chat_id,
            message_thread_id=address.thread_id,
            text=text,
        )

    async def _call(
        self, method: str, *, seconds: float = SECONDS, **parameters: Any
    ) -> Any:
        with _translated():
            return await self._bot.call(method, parameters, seconds)


class _Bot(telegram.Bot):
    """
    python-telegram-bot's Bot with its raw answers.

    Most answers are of no interest; and an answer that it cannot parse must not make
    a message that was sent look as if it was not.
    """

    @property
    def requests(self) -> Sequence[telegram.request.BaseRequest]:
        """For long polls, for the rest."""
        return self._request

    async def call(
        self, method: str, parameters: dict[str, Any], seconds: float
    ) -> Any:
        """Call any method; parameters that are None are left out."""
        return await self._post(method, parameters, read_timeout=seconds)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except telegram.error.TelegramError as error:
        raise _ours(error) from error
    except (KeyError, TypeError, AttributeError) as error:
        # python-telegram-bot met an answer without the parts of one.
        raise TelegramError(
            "the answer is not a Bot API answer", ReconnectReason.NETWORK
        ) from error


def _ours(error: telegram.error.TelegramError) -> CrocbotError:
    match error:
        case FloodError():
            return FloodWaitError(error.seconds)
        # A refusal without Telegram's JSON comes from something in between.
        case telegram.error.InvalidToken() if error.__cause__ is None:
            return OperatorError(
                f"Telegram refused the token ({_words(error)}):"
                " set TELEGRAM_BOT_TOKEN to the one that @BotFather shows"
            )
        case telegram.error.Conflict():
            return TelegramError(_conflict(error.message), ReconnectReason.CONFLICT)
        case telegram.error.TimedOut():
            return TelegramError(_words(error), ReconnectReason.TIMEOUT)
        case (
            telegram.error.BadRequest()
            | telegram.error.Forbidden()
            | telegram.error.ChatMigrated()
        ):
            return DeliveryError(f"Telegram said no: {_words(error)}")
        case _:
            return TelegramError(_words(error), ReconnectReason.NETWORK)


def _words(error: telegram.error.TelegramError) -> str:
    """
    What Telegram said, in bounds; not the page that came in its place.

        Bad Gateway (502). Parsing the server response b'<html>...' failed
    """
    return error.message.partition(". Parsing the server response")[0][:200]


def _conflict(message: str) -> str:
    """
    Who is in our way.

        Conflict: terminated by other getUpdates request; make sure that only one ...
        Conflict: can't use getUpdates method while webhook is active; ...
    """
    if "webhook" in message:
        return "a webhook was set for this bot; a restart of crocbot removes it"
    return "another program polls with this token; only one gets the messages"
