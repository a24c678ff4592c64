"""
One call to the Bot API, and python-telegram-bot's errors as ours.

| Telegram, or the network             | raised                                 |
|--------------------------------------|----------------------------------------|
| 401, 404 in Telegram's own words     | OperatorError: the token is wrong      |
| 404 about a method of no need        | DeliveryError: this server has none    |
| 429                                  | FloodWaitError                         |
| 409, a webhook is set                | WebhookSetError, a TelegramError       |
| 409, another poller                  | TelegramError, CONFLICT                |
| no answer in time                    | TelegramError, TIMEOUT                 |
| 403, or a chat that is not there     | ChatGoneError, a DeliveryError         |
| 400, a group with another id now     | ChatMovedError, a DeliveryError        |
| any other 400                        | DeliveryError: asking again is no use  |
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
# Every server has these: where one of them is not found, it is the token.  Others may
# be missing from a server of one's own.
NEEDED = frozenset({"getMe", "getUpdates", "setWebhook", "sendMessage"})
# What Telegram says with a 400 about a chat that takes nothing any more; all that it
# says with a 403 means the same.
GONE = (
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
    python-telegram-bot's Bot with its raw answers.

    Most answers are of no interest; and an answer that it cannot parse must not make
    a message that was sent look as if it was not.
    """

    @property
    def requests(self) -> Sequence[AiohttpRequest]:
        """For long polls, for the rest."""
        return [one for one in self._request if isinstance(one, AiohttpRequest)]

    async def call(
        self, method: str, parameters: dict[str, Any], seconds: float
    ) -> Any:
        """Call any method; parameters that are None are left out."""
        with _translated():
            try:
                return await self._post(method, parameters, read_timeout=seconds)
            except NotFoundError as error:
                if method in NEEDED:
                    raise
                words = f"{method}: {error.message}"
                raise telegram.error.BadRequest(words) from error

    async def load(self, path: str, seconds: float) -> bytes:
        """Load a file by the path that getFile tells; its URL has the token in it."""
        _, request = self._request
        url = f"{self.base_file_url}/{quote(path)}"
        with _translated():
            try:
                return bytes(await request.retrieve(url, read_timeout=seconds))
            except telegram.error.InvalidToken as error:
                # That is what python-telegram-bot makes of every 404.
                raise telegram.error.BadRequest("the file is gone") from error


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
        case telegram.error.Conflict() if "webhook" in error.message:
            return WebhookSetError("a webhook is set for this bot")
        case telegram.error.Conflict():
            return TelegramError(OTHER_POLLER, ReconnectReason.CONFLICT)
        case telegram.error.TimedOut():
            return TelegramError(_words(error), ReconnectReason.TIMEOUT)
        case telegram.error.Forbidden():
            return ChatGoneError(f"Telegram said no: {_words(error)}")
        case telegram.error.BadRequest() if _is_gone(error.message):
            return ChatGoneError(f"Telegram said no: {_words(error)}")
        case telegram.error.ChatMigrated():
            return ChatMovedError(
                f"Telegram said no: {_words(error)}", error.new_chat_id
            )
        case telegram.error.BadRequest():
            return DeliveryError(f"Telegram said no: {_words(error)}")
        case _:
            return TelegramError(_words(error), ReconnectReason.NETWORK)


def _words(error: telegram.error.TelegramError) -> str:
    """
    What Telegram said, in bounds; not the page that came in its place.

        Bad Gateway (502). Parsing the server response b'<html>...' failed
    """
    return error.message.partition(". Parsing the server response")[0][:200]


def _is_gone(message: str) -> bool:
    return any(words in message.lower() for words in GONE)
