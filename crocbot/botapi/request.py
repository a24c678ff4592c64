"""
One Bot API request over aiohttp, in the form that python-telegram-bot's Bot expects.

    Bot:    https://api.telegram.org/bot0:redacted/sendMessage
    wire:   https://api.telegram.org/bot<the token>/sendMessage

The Bot never learns the token: it is put into the URL here, at the last moment, and no
exception that leaves this file carries the URL, not even as its context.  So no log,
`repr` or traceback of anybody else can print it.

Every call ends: its time-out covers connecting, sending and the whole answer.  A
connection whose call timed out is closed and never used again.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import telegram.error
from telegram.request import BaseRequest, RequestData

PLACEHOLDER = "0:redacted"
SECONDS = 15.0
CONNECT_SECONDS = 10.0
CLOSE_SECONDS = 1.0
MOST_BYTES = 32 * 1024 * 1024
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class FloodError(telegram.error.TelegramError):
    """
    Telegram asks to wait.

    Ours, since constructing python-telegram-bot's RetryAfter warns of deprecation.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"wait {seconds:g} s")
        self.seconds = seconds


class NotFoundError(telegram.error.InvalidToken):
    """
    404 in Telegram's own words: a malformed token, or a method that is not there.

    python-telegram-bot takes both, and a 401, for the first.
    """


class AiohttpRequest(BaseRequest):
    """Requests over one pool of connections, which `initialize` opens."""

    def __init__(self, token: str, api_url: str, *, connections: int) -> None:
        self._token = token
        self._secret = token.encode()
        # A proxy of the environment is for the world outside, not for this host.
        self._proxies = urlsplit(api_url).hostname not in LOOPBACK
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    @property
    def read_timeout(self) -> float:
        """How long a call may take unless it says otherwise."""
        return SECONDS

    async def initialize(self) -> None:
        """Open the pool; no connection is made yet."""
        if self._session is None:
            self._session = self._open()

    async def renew(self) -> None:
        """Begin anew with no connection, and no resolved name, of before."""
        if self._session is not None:
            old, self._session = self._session, self._open()
            closing = asyncio.create_task(old.close())
            await asyncio.wait([closing], timeout=CLOSE_SECONDS)

    def _open(self) -> aiohttp.ClientSession:
        # aiohttp tries IPv4 a quarter of a second after IPv6, so a host whose IPv6
        # leads nowhere works at once.
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._connections, keepalive_timeout=50
            ),
            headers={"User-Agent": self.USER_AGENT},
            trust_env=self._proxies,
        )

    async def shutdown(self) -> None:
        """Close the pool."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def do_request(
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: Any = BaseRequest.DEFAULT_NONE,
        write_timeout: Any = BaseRequest.DEFAULT_NONE,  # noqa: ARG002
        connect_timeout: Any = BaseRequest.DEFAULT_NONE,  # noqa: ARG002
        pool_timeout: Any = BaseRequest.DEFAULT_NONE,  # noqa: ARG002
    ) -> tuple[int, bytes]:
        """Make the request; `read_timeout` bounds all of it."""
        if self._session is None:
            raise RuntimeError("initialize() was not called")
        total = read_timeout if isinstance(read_timeout, int | float) else SECONDS
        fault: telegram.error.TelegramError
        try:
            async with self._session.request(
                method,
                url.replace(PLACEHOLDER, self._token, 1),
                data=_body(request_data),
                timeout=aiohttp.ClientTimeout(
                    total=total, sock_connect=min(total, CONNECT_SECONDS)
                ),
                # A redirect would take the token elsewhere.
                allow_redirects=False,
            ) as response:
                status, payload = response.status, await _read(response)
        except TimeoutError:
            fault = telegram.error.TimedOut(f"no answer within {total:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            fault = telegram.error.NetworkError(_describe(error))
        else:
            if status == 429:
                raise FloodError(_retry_after(payload))
            if status == 404 and (words := _description(payload)):
                raise NotFoundError(words)
            # Pages of servers in between may show the URL that was asked for.
            return status, payload.replace(self._secret, PLACEHOLDER.encode())
        # Outside of the except clauses: a context would keep the URL.
        raise fault

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        """Parse an answer; unlike the overridden one never log what came instead."""
        try:
            answer = json.loads(payload)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise telegram.error.TelegramError("the answer is not a Bot API answer")
        return answer


def _body(request_data: RequestData | None) -> aiohttp.FormData | None:
    """Form fields; multipart if a file is among them."""
    if request_data is None:
        return None
    files = request_data.multipart_data
    form = aiohttp.FormData(default_to_multipart=bool(files))
    for name, value in request_data.json_parameters.items():
        form.add_field(name, value)
    for name, (filename, content, content_type) in files.items():
        form.add_field(name, content, filename=filename, content_type=content_type)
    return form


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The whole body, within bounds."""
    payload = bytearray()
    async for chunk in response.content.iter_any():
        payload += chunk
        if len(payload) > MOST_BYTES:
            raise ValueError(f"the answer is longer than {MOST_BYTES} bytes")
    return bytes(payload)


def _description(payload: bytes) -> str:
    """What Telegram says about a failure; nothing if it was not Telegram."""
    try:
        return str(json.loads(payload)["description"])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return ""


def _retry_after(payload: bytes) -> float:
    """How long to wait: a second at least, also where Telegram does not say."""
    try:
        seconds = float(json.loads(payload)["parameters"]["retry_after"])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return 1.0
    return min(max(seconds, 1.0), 86_400.0) if seconds == seconds else 1.0


def _describe(error: Exception) -> str:
    """
    What went wrong, without the URL that some of aiohttp's errors print.

        ClientConnectorError: Connect call failed ('127.0.0.1', 1)
    """
    kind = type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"{kind}: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{kind}: {error.os_error}"
    if isinstance(error, OSError) and error.strerror:
        return f"{kind}: {error.strerror}"
    return kind
