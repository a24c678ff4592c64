"""
Pending updates to a bot's webhook, as Telegram delivers them.

    one at a time, in order --> POST url, with the secret --> 2xx: the next one
                                                              else: a retry

getWebhookInfo has the last error.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import aiohttp

from crocbot.model import Clock
from crocbot.sandbox.updates import (
    ConflictingPollError,
    InterruptedPollError,
    Updates,
)

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 (its name)
POLL_SECONDS = 1.0
RETRY_SECONDS = 0.2
TIMEOUT = aiohttp.ClientTimeout(total=30)


@dataclass(slots=True, kw_only=True)
class Webhook:
    """A webhook as setWebhook left it, and its last error."""

    url: str
    secret: str = ""
    failed_at: float | None = None
    error: str = ""


class WebhookDelivery:
    """Delivers updates to `webhook`, if there is one.  `clock` is Unix time."""

    def __init__(self, updates: Updates, clock: Clock) -> None:
        self.webhook: Webhook | None = None
        self._updates = updates
        self._clock = clock

    async def run(self) -> None:
        """Deliver until cancelled."""
        offset = 0
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
            while True:
                webhook = self.webhook
                if webhook is None:
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                try:
                    pending = await self._updates.poll(offset, 1, POLL_SECONDS)
                except (ConflictingPollError, InterruptedPollError):
                    continue
                if not pending or self.webhook is not webhook:
                    continue
                error = await _post(session, webhook, pending[0])
                if error is None:
                    offset = pending[0]["update_id"] + 1
                    continue
                webhook.failed_at, webhook.error = self._clock(), error
                await asyncio.sleep(RETRY_SECONDS)


async def _post(
    session: aiohttp.ClientSession, webhook: Webhook, update: Any
) -> str | None:
    """Post one update; return None, or the error in Telegram's words."""
    headers = {SECRET_HEADER: webhook.secret} if webhook.secret else {}
    try:
        async with session.post(webhook.url, json=update, headers=headers) as response:
            if response.status // 100 == 2:
                return None
            status = f"{response.status} {response.reason}"
            return f"Wrong response from the webhook: {status}"
    except aiohttp.ClientError:
        return "Connection refused"
    except TimeoutError:
        return "Read timeout expired"
