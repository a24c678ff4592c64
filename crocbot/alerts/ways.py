"""
The two ways to the operator: a chat of the bot, and a webhook.

Both send one message at a time, directly and not by the database, which may be what
fails; each try is bounded by SEND_SECONDS.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp

from crocbot.alert_outcomes import AlertWay
from crocbot.alerts import messages
from crocbot.alerts.state import Notice
from crocbot.alerts.table import AlertName
from crocbot.errors import CrocbotError, DeliveryError, OperatorError
from crocbot.http_client import HttpClient
from crocbot.model import ChatThread, MessagePart
from crocbot.proxies import Proxies

if TYPE_CHECKING:
    from crocbot.botapi import Client

SEND_SECONDS = 10.0
FIRST_SERVER_ERROR = 500
TOO_MANY_REQUESTS = 429


class UnreachableError(CrocbotError):
    """A way does not work now; a later try may."""


class RefusedError(CrocbotError):
    """A way refuses messages until the operator changes something."""


class Way(Protocol):
    """
    One way on which alerts are sent.

    `skips` are the alerts that it cannot send.
    """

    name: AlertWay
    skips: frozenset[AlertName]

    async def send(self, notice: Notice, *, wall_offset: float) -> None:
        """Send a notice.  Raise CrocbotError or TimeoutError."""

    async def send_test(self) -> None:
        """Send a test.  Raise CrocbotError or TimeoutError."""

    async def close(self) -> None:
        """Close connections."""


class ChatWay:
    """Alerts in a chat, as plain text; not that the token is refused."""

    name = AlertWay.CHAT
    skips = frozenset({AlertName.TOKEN_REFUSED})

    def __init__(
        self, client: Client, chat: ChatThread, *, runbooks: str | None
    ) -> None:
        self._client = client
        self._chat = chat
        self._runbooks = runbooks

    async def send(self, notice: Notice, *, wall_offset: float) -> None:  # noqa: ARG002
        """Send a notice, once."""
        await self._send(messages.text_of(notice, self._runbooks))

    async def send_test(self) -> None:
        """Send a test, once."""
        await self._send(messages.TEST_NOTICE)

    async def close(self) -> None:
        """Do nothing: the client is not this object's."""

    async def _send(self, text: str) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await self._client.send_message(self._chat, MessagePart(text))


class WebhookWay:
    """Alerts as JSON to a URL, which is a secret."""

    name = AlertWay.WEBHOOK
    skips: frozenset[AlertName] = frozenset()

    def __init__(
        self, url: str, *, bot: str, runbooks: str | None, proxies: Proxies
    ) -> None:
        self._url = url
        self._bot = bot
        self._runbooks = runbooks
        self._http = HttpClient(url, connections=1, reuse=False, proxies=proxies)

    async def send(self, notice: Notice, *, wall_offset: float) -> None:
        """Send a notice, once."""
        await self._send(
            messages.body_of(
                notice,
                bot=self._bot,
                runbooks=self._runbooks,
                wall_offset=wall_offset,
            )
        )

    async def send_test(self) -> None:
        """Send a test, once."""
        await self._send(messages.test_body(bot=self._bot, now=time.time()))

    async def close(self) -> None:
        """Close connections."""
        await self._http.close()

    async def _send(self, body: Mapping[str, Any]) -> None:
        """Send a body.  Raise RefusedError or UnreachableError."""
        try:
            async with self._http.request(
                "POST",
                self._url,
                timeout=aiohttp.ClientTimeout(total=SEND_SECONDS),
                headers={"Content-Type": "application/json"},
                data=json.dumps(body).encode(),
            ) as response:
                status = response.status
        except aiohttp.ClientError as error:
            raise UnreachableError(f"cannot be reached: {_reason(error)}") from error
        if status >= FIRST_SERVER_ERROR or status == TOO_MANY_REQUESTS:
            raise UnreachableError(f"answered {status}")
        if not 200 <= status < 300:
            raise RefusedError(f"answered {status}")


def _reason(error: aiohttp.ClientError) -> str:
    """Return why there was no answer, without the URL."""
    os_error = getattr(error, "os_error", None)
    reason = getattr(os_error, "strerror", None)
    return str(reason or type(error).__name__)


def is_refusal(error: Exception) -> bool:
    """Return whether an error lasts until the operator changes something."""
    return isinstance(error, RefusedError | DeliveryError | OperatorError)
