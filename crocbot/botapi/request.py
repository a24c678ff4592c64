"""
Bot API requests over aiohttp, as a python-telegram-bot BaseRequest.

    Bot:    https://api.telegram.org/bot0:redacted/sendMessage
    sent:   https://api.telegram.org/bot<the token>/sendMessage

The Bot never knows the token: it is put into the URL here, and no exception that is
raised here carries the URL, not even as its context.  So no log line, `repr` or
traceback can print it.

Every call ends: its timeout covers connecting, sending and the whole answer.  The
connection of a call that timed out is closed.
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
DEFAULT_SECONDS = 15.0
CONNECT_SECONDS = 10.0
CLOSE_SECONDS = 1.0
MAX_ANSWER_BYTES = 32 * 1024 * 1024
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class FloodError(telegram.error.TelegramError):
    """
    A flood wait (HTTP 429).

    python-telegram-bot's own RetryAfter warns of deprecation when it is constructed.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"wait {seconds:g} s")
        self.seconds = seconds


class NotFoundError(telegram.error.InvalidToken):
    """
    404 from Telegram itself: a malformed token, or a method that does not exist.

    python-telegram-bot raises InvalidToken for both, and for a 401.
    """


class AiohttpRequest(BaseRequest):
    """Requests over one pool of at most `connections`, which `initialize` opens."""

    def __init__(self, token: str, api_url: str, *, connections: int) -> None:
        self._token = token
        self._secret = token.encode()
        # HTTPS_PROXY and the like do not apply to this host.
        self._use_proxies = urlsplit(api_url).hostname not in LOOPBACK
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    @property
    def read_timeout(self) -> float:
        """Return the timeout of a call that sets none."""
        return DEFAULT_SECONDS

    async def initialize(self) -> None:
        """Open the pool; no connection is made yet."""
        if self._session is None:
            self._session = self._open()

    async def reset_connections(self) -> None:
        """Close all connections and forget resolved names."""
        if self._session is not None:
            old, self._session = self._session, self._open()
            closing = asyncio.create_task(old.close())
            await asyncio.wait([closing], timeout=CLOSE_SECONDS)

    def _open(self) -> aiohttp.ClientSession:
        # aiohttp tries IPv4 a quarter of a second after IPv6, so a host whose IPv6
        # address does not answer works at once.
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._connections, keepalive_timeout=50
            ),
            headers={"User-Agent": self.USER_AGENT},
            trust_env=self._use_proxies,
        )

    async def shutdown(self) -> None:
        """Close the pool."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

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
        if self._session is None:
            raise RuntimeError("initialize() was not called")
        total = (
            read_timeout if isinstance(read_timeout, int | float) else DEFAULT_SECONDS
        )
        failure: telegram.error.TelegramError
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
            failure = telegram.error.TimedOut(f"no answer within {total:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = telegram.error.NetworkError(_describe(error))
        else:
            if status == 429:
                raise FloodError(_retry_after(payload))
            if status == 404 and (description := _description(payload)):
                raise NotFoundError(description)
            # The error page of a proxy may contain the URL.
            return status, payload.replace(self._secret, PLACEHOLDER.encode())
        # Outside of the except clauses: the context of an exception has the URL.
        raise failure

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        """Parse an answer; unlike the base class never log one that is not JSON."""
        try:
            answer = json.loads(payload)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise telegram.error.TelegramError("the answer is not a Bot API answer")
        return answer


def _body(request_data: RequestData | None) -> aiohttp.FormData | None:
    """Return the form fields, as multipart if there is a file."""
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
    """Return the whole body.  Raise ValueError above MAX_ANSWER_BYTES."""
    payload = bytearray()
    async for chunk in response.content.iter_any():
        payload += chunk
        if len(payload) > MAX_ANSWER_BYTES:
            raise ValueError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
    return bytes(payload)


def _description(payload: bytes) -> str:
    """Return Telegram's description of an error, empty if another server answered."""
    try:
        return str(json.loads(payload)["description"])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return ""


def _retry_after(payload: bytes) -> float:
    """Return the flood wait in seconds, 1 at least and if Telegram gives none."""
    try:
        seconds = float(json.loads(payload)["parameters"]["retry_after"])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return 1.0
    return min(max(seconds, 1.0), 86_400.0) if seconds == seconds else 1.0


def _describe(error: Exception) -> str:
    """
    Return the text of an error without the URL, which some of aiohttp's contain.

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
