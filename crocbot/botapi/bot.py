"""
One call of the Bot API, with python-telegram-bot's errors translated to crocbot's.

| Telegram, or the network             | raised                                 |
|--------------------------------------|----------------------------------------|
| 401, 404 in Telegram's own words     | OperatorError: the token is wrong      |
| 404, an optional method              | DeliveryError: this server lacks it    |
| 429                                  | FloodWaitError                         |
| 409, a webhook is set                | WebhookSetError, a TelegramError       |
| 409, another poller                  | TelegramError, CONFLICT                |
| no answer in time                    | TelegramError, TIMEOUT                 |
| 403, or a chat that does not exist   | ChatGoneError, a DeliveryError         |
| 400, a group with another id now     | ChatMovedError, a DeliveryError        |
| any other 400                        | DeliveryError: a retry does not help   |
| no connection, 5xx, not a Bot API    | TelegramError, NETWORK                 |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import telegram
import telegram.error

from crocbot.botapi.request import AiohttpRequest, FloodError, NotFoundError
from crocbot.errors import (
    ChatGoneError,
    ChatMovedError,
    CrocbotError,
    DeliveryError,
    FloodWaitError,
    OperatorError,
    TelegramError,
    WebhookSetError,
)
from crocbot.model import ReconnectReason

OTHER_POLLER = (
    "another program polls with this token; only one of them gets the messages"
)
# Every server has these, so a 404 means that the token is wrong.  A self-hosted server
# may lack others.
REQUIRED_METHODS = frozenset({"getMe", "getUpdates", "setWebhook", "sendMessage"})
# Descriptions of a 400 for a chat that accepts no messages any more, like any 403.
CHAT_GONE = (
    "chat not found",
    "user not found",
    "peer_id_invalid",
    "group chat was deactivated",
    "bot is not a member",
    "have no rights to send",
    "not enough rights to send",
)


class Bot(telegram.Bot):
    """
    python-telegram-bot's Bot with unparsed results.

    Most results are not needed, and one that cannot be parsed must not make a message
    that was sent count as not sent.
    """

    @property
    def requests(self) -> Sequence[AiohttpRequest]:
        """Return the pool for getUpdates and the pool for all other methods."""
        return [each for each in self._request if isinstance(each, AiohttpRequest)]

    async def call(
        self, method: str, parameters: dict[str, Any], seconds: float
    ) -> Any:
        """Call a method within `seconds`; parameters that are None are left out."""
        with _translated():
            try:
                return await self._post(method, parameters, read_timeout=seconds)
            except NotFoundError as error:
                if method in REQUIRED_METHODS:
                    raise
                description = f"{method}: {error.message}"
                raise telegram.error.BadRequest(description) from error

    async def download(self, path: str, seconds: float) -> bytes:
        """Return a file by the path that getFile returned, within `seconds`."""
        _, request = self._request
        url = f"{self.base_file_url}/{quote(path)}"
        with _translated():
            try:
                return bytes(await request.retrieve(url, read_timeout=seconds))
            except telegram.error.InvalidToken as error:
                # python-telegram-bot raises this for every 404.
                raise telegram.error.BadRequest("the file is gone") from error


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except telegram.error.TelegramError as error:
        raise _translate(error) from error
    except (KeyError, TypeError, AttributeError) as error:
        # python-telegram-bot expects fields that a Bot API answer always has.
        raise TelegramError(
            "the answer is not a Bot API answer", ReconnectReason.NETWORK
        ) from error


def _translate(error: telegram.error.TelegramError) -> CrocbotError:
    description = _description(error)
    refusal = f"Telegram said no: {description}"
    translated: CrocbotError
    match error:
        case FloodError():
            translated = FloodWaitError(error.seconds)
        # A refusal without Telegram's JSON comes from a server in between.
        case telegram.error.InvalidToken() if error.__cause__ is None:
            translated = OperatorError(
                f"Telegram refused the token ({description}):"
                " set TELEGRAM_BOT_TOKEN to the one that @BotFather shows"
            )
        case telegram.error.Conflict() if "webhook" in error.message:
            translated = WebhookSetError("a webhook is set for this bot")
        case telegram.error.Conflict():
            translated = TelegramError(OTHER_POLLER, ReconnectReason.CONFLICT)
        case telegram.error.TimedOut():
            translated = TelegramError(description, ReconnectReason.TIMEOUT)
        case telegram.error.ChatMigrated():
            translated = ChatMovedError(refusal, error.new_chat_id)
        case telegram.error.BadRequest() if not _is_chat_gone(error.message):
            translated = DeliveryError(refusal)
        case telegram.error.Forbidden() | telegram.error.BadRequest():
            translated = ChatGoneError(refusal)
        case _:
            translated = TelegramError(description, ReconnectReason.NETWORK)
    return translated


def _description(error: telegram.error.TelegramError) -> str:
    """
    Return the description that Telegram gave, shortened, without a server's page.

        Bad Gateway (502). Parsing the server response b'<html>...' failed
    """
    return error.message.partition(". Parsing the server response")[0][:200]


def _is_chat_gone(message: str) -> bool:
    return any(description in message.lower() for description in CHAT_GONE)
