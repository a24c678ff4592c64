"""
One call of the Bot API: python-telegram-bot's Bot, over aiohttp, without the token.

    Bot:    https://api.telegram.org/bot0:redacted/sendMessage
    sent:   https://api.telegram.org/bot<the token>/sendMessage

The Bot never knows the token: AiohttpRequest puts it into the URL, and no exception
that is raised here carries the URL, not even as its context.  So no log line, `repr`
or traceback can print it.  In a text that is sent it is replaced by asterisks, whatever
made the text.

Every call ends: its timeout covers connecting, sending and the whole answer.  The
connection of a call that timed out is closed.  Errors are translated:

| Telegram, or the network             | raised                                 |
|--------------------------------------|----------------------------------------|
| 401, 404 in Telegram's own words     | OperatorError: the token is wrong      |
| 404, an optional method              | DeliveryError: this server lacks it    |
| 429                                  | FloodWaitError                         |
| 409, a webhook is set                | WebhookSetError, a TelegramError       |
| 409, another poller                  | TelegramError, CONFLICT                |
| no answer in time                    | TelegramError, TIMEOUT                 |
| an answer of more than 4 MiB         | AnswerTooLongError, a TelegramError    |
| 403, or a chat that does not exist   | ChatGoneError, a DeliveryError         |
| 400 or 403, not in Telegram's words  | TelegramError, NETWORK                 |
| 400, a group with another id now     | ChatMovedError, a DeliveryError        |
| a method that the server lacks       | UnknownMethodError, a DeliveryError    |
| any other 400, 413 for a message     | DeliveryError, with its `refusal`      |
| no connection, 5xx, not a Bot API    | TelegramError, NETWORK                 |
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any
from urllib.parse import quote

import aiohttp
import telegram
import telegram.error
from telegram.request import BaseRequest, RequestData

from crocbot import leases
from crocbot.botapi.answers import (
    FloodError,
    MissingMethodError,
    NotFoundError,
    RefusedError,
    TooLargeError,
    raise_error,
)
from crocbot.botapi.refusals import delivery_error
from crocbot.errors import (
    AnswerTooLongError,
    ChatMovedError,
    CrocbotError,
    FileTooLargeError,
    FloodWaitError,
    NotConnectedError,
    OperatorError,
    TelegramError,
    UnknownMethodError,
    WebhookSetError,
)
from crocbot.http_client import (
    BodyError,
    BodyTooLongError,
    HttpClient,
    ProxyFailedError,
    load_json,
)
from crocbot.model import ReconnectReason
from crocbot.proxies import NO_PROXIES, Proxies

PLACEHOLDER = "0:redacted"
DEFAULT_SECONDS = 15.0
CONNECT_SECONDS = 10.0
# To aiohttp 0 is no limit: a lease that has just ended still has one.
MIN_LEASE_SECONDS = 0.001
# Of any answer except a file.  JSON blocks the event loop while it is decoded; if 100
# updates have more bytes than this, fewer are requested.
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_DESCRIPTION_CHARS = 200
OTHER_POLLER = (
    "another program polls with this token; only one of them gets the messages"
)
# Every server has these, so a 404 means that the token is wrong.  A self-hosted server
# may lack others.
REQUIRED_METHODS = frozenset({"getMe", "getUpdates", "setWebhook", "sendMessage"})
# Some servers and emulators answer 400 to a method that they do not have.
MISSING_METHOD = re.compile(
    r"\b(?:method\b.{0,64}\b(?:not found|not supported|not implemented|unknown)"
    r"|(?:unknown|no such|unsupported) method)\b",
    re.IGNORECASE | re.DOTALL,
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
            except TooLargeError as error:
                if not method.startswith("send"):
                    raise telegram.error.NetworkError(error.message) from error
                raise
            except (NotFoundError, RefusedError) as error:
                if method in REQUIRED_METHODS or not _is_missing(error):
                    raise
                raise MissingMethodError(f"{method}: {error.message}") from error

    async def download(self, path: str, seconds: float, max_bytes: int) -> bytes:
        """
        Return a file by the path that getFile returned, within `seconds`.

        Raise FileTooLargeError if it has more than `max_bytes`.
        """
        url = f"{self.base_file_url}/{quote(path)}"
        with _translated():
            try:
                status, content = await self.requests[1].fetch(
                    "GET", url, seconds=seconds, max_bytes=max_bytes
                )
            except AnswerTooLong as error:
                raise FileTooLargeError(error.message) from error
            except NotFoundError:
                status, content = 404, b""
            if status == 404:
                raise RefusedError("the file is gone", forbidden=False)
            if status != 200:
                raise telegram.error.NetworkError(f"the file has status {status}")
            return content


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


def _is_missing(error: NotFoundError | RefusedError) -> bool:
    """Return whether a server means that it does not have the method."""
    return isinstance(error, NotFoundError) or bool(
        MISSING_METHOD.search(error.message)
    )


def _translate(error: telegram.error.TelegramError) -> CrocbotError:
    description = _description(error)
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
        case NotConnected():
            translated = NotConnectedError(description, ReconnectReason.NETWORK)
        case AnswerTooLong():
            translated = AnswerTooLongError(description, ReconnectReason.NETWORK)
        case telegram.error.ChatMigrated():
            text = f"Telegram refused the call: {description}"
            translated = ChatMovedError(text, error.new_chat_id)
        case MissingMethodError():
            text = error.description[:MAX_DESCRIPTION_CHARS]
            translated = UnknownMethodError(f"Telegram refused the call: {text}")
        case RefusedError():
            text = error.description[:MAX_DESCRIPTION_CHARS]
            translated = delivery_error(text, forbidden=error.forbidden)
        # Also a 400 or 403 of a server in between, such as a firewall.
        case _:
            translated = TelegramError(description, ReconnectReason.NETWORK)
    return translated


def _description(error: telegram.error.TelegramError) -> str:
    """
    Return the description that Telegram gave, shortened, without a server's page.

        Bad Gateway (502). Parsing the server response b'<html>...' failed
    """
    text = error.message.partition(". Parsing the server response")[0]
    return text[:MAX_DESCRIPTION_CHARS]


def _lease_seconds() -> float | None:
    """Return how long the lease of the current task lasts; None if it has none."""
    lease = leases.current()
    if lease is None:
        return None
    return max(lease.until - leases.now(), MIN_LEASE_SECONDS)


class NotConnected(telegram.error.NetworkError):
    """There was no connection, so nothing was sent."""


class AnswerTooLong(telegram.error.NetworkError):
    """The answer has more bytes than the method may return."""


class AiohttpRequest(BaseRequest):
    """Requests over one pool of at most `connections`."""

    def __init__(
        self,
        token: str,
        api_url: str,
        *,
        connections: int,
        proxies: Proxies = NO_PROXIES,
    ) -> None:
        self._token = token
        self._secret = token.encode()
        self._client = HttpClient(
            api_url,
            connections=connections,
            reuse=True,
            headers={"User-Agent": self.USER_AGENT},
            proxies=proxies,
        )

    @property
    def read_timeout(self) -> float:
        """Return the timeout of a call that sets none."""
        return DEFAULT_SECONDS

    async def initialize(self) -> None:
        """Do nothing: the first request opens the pool."""

    async def reset_connections(self) -> None:
        """Close all connections and forget resolved names."""
        await self._client.reset()

    async def shutdown(self) -> None:
        """Close the pool."""
        await self._client.close()

    async def do_request(  # noqa: PLR0917 (the signature of BaseRequest)
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: Any = BaseRequest.DEFAULT_NONE,
        write_timeout: Any = BaseRequest.DEFAULT_NONE,  # noqa: ARG002
        connect_timeout: Any = BaseRequest.DEFAULT_NONE,  # noqa: ARG002
        pool_timeout: Any = BaseRequest.DEFAULT_NONE,  # noqa: ARG002
    ) -> tuple[int, bytes]:
        """Make a request within `read_timeout` seconds; return status and body."""
        is_set = isinstance(read_timeout, int | float)
        return await self.fetch(
            method,
            url,
            data=self._body(request_data),
            seconds=read_timeout if is_set else DEFAULT_SECONDS,
            max_bytes=MAX_ANSWER_BYTES,
        )

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        data: aiohttp.FormData | None = None,
        seconds: float,
        max_bytes: int,
    ) -> tuple[int, bytes]:
        """
        Make a request within `seconds`; return status and body.

        Raise AnswerTooLong if the body has more than `max_bytes`.  A request that has
        no connection when the lease of its chat ends is not made: NotConnected.
        """
        failure: telegram.error.TelegramError
        left = _lease_seconds()
        timeout = aiohttp.ClientTimeout(
            total=seconds,
            # Also for one that is free.
            connect=left,
            sock_connect=min(seconds, CONNECT_SECONDS),
        )
        url = url.replace(PLACEHOLDER, self._token, 1)
        try:
            async with self._client.request(
                method, url, data=data, timeout=timeout
            ) as response:
                status, payload = response.status, await response.read(max_bytes)
        except TimeoutError as error:
            failure = telegram.error.TimedOut(f"no answer within {seconds:g} s")
            if left is not None and isinstance(error, aiohttp.ConnectionTimeoutError):
                failure = NotConnected(f"no connection within {left:.1f} s")
        except BodyTooLongError as error:
            failure = AnswerTooLong(str(error))
        except BodyError as error:
            failure = telegram.error.NetworkError(str(error))
        except aiohttp.ClientConnectorError as error:
            failure = NotConnected(_without_url(error))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = telegram.error.NetworkError(_without_url(error))
        else:
            # An error, or the page of a proxy, may contain the URL.
            payload = payload.replace(self._secret, PLACEHOLDER.encode())
            raise_error(status, payload)
            return status, payload
        # Outside of the except clauses: the context of an exception has the URL.
        raise failure

    def _body(self, request_data: RequestData | None) -> aiohttp.FormData | None:
        """Return the form fields without the token, as multipart if there is a file."""
        if request_data is None:
            return None
        files = request_data.multipart_data
        # Telegram takes names as they are, and would show percent signs.
        form = aiohttp.FormData(quote_fields=False, default_to_multipart=bool(files))
        for name, value in request_data.json_parameters.items():
            # Of the same length, so that the offsets of entities stay right.
            form.add_field(name, value.replace(self._token, "*" * len(self._token)))
        for name, (filename, content, content_type) in files.items():
            # As a stream: aiohttp would copy a large body while the event loop waits.
            stream = BytesIO(content) if isinstance(content, bytes) else content
            form.add_field(name, stream, filename=filename, content_type=content_type)
        return form

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        """Parse an answer; unlike the base class never log one that is not JSON."""
        try:
            answer = load_json(payload)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise telegram.error.TelegramError("the answer is not a Bot API answer")
        return answer


def _without_url(error: Exception) -> str:
    """
    Return the text of an error without the URL, which some of aiohttp's contain.

        ClientConnectorError: Connect call failed ('127.0.0.1', 1)
    """
    if isinstance(error, ProxyFailedError):
        return str(error)
    kind = type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"{kind}: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{kind}: {error.os_error}"
    if isinstance(error, OSError) and error.strerror:
        return f"{kind}: {error.strerror}"
    return kind
