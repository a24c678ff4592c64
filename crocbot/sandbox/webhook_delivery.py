"""
Waiting updates to a bot's webhook, as Telegram brings them.

    one at a time, in order --> POST url, with the secret --> 2xx: the next one
                                                              else: again, after a while

What went wrong last is in getWebhookInfo.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from crocbot.sandbox.updates import (
    ConflictingPollError,
    InterruptedPollError,
    Updates,
)

HEADER = "X-Telegram-Bot-Api-Secret-Token"
WAIT_SECONDS = 1.0
AGAIN_SECONDS = 0.2
TIMEOUT = aiohttp.ClientTimeout(total=30)


@dataclass(slots=True)
class Hook:
    """A webhook that is set, and how it gets on."""

    url: str
    secret: str = ""
    failed_at: float | None = None
    failure: str = ""


async def deliver(
    updates: Updates, hook: Callable[[], Hook | None], clock: Callable[[], float]
) -> None:
    """Bring updates to whatever webhook is set, until cancelled."""
    offset = 0
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        while True:
            target = hook()
            if target is None:
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            try:
                waiting = await updates.poll(offset, 1, WAIT_SECONDS)
            except (ConflictingPollError, InterruptedPollError):
                continue
            if not waiting or hook() is not target:
                continue
            failure = await _post(session, target, waiting[0])
            if failure is None:
                offset = waiting[0]["update_id"] + 1
                continue
            target.failed_at, target.failure = clock(), failure
            await asyncio.sleep(AGAIN_SECONDS)


async def _post(session: aiohttp.ClientSession, hook: Hook, update: Any) -> str | None:
    """Bring one update; returns what went wrong, in Telegram's words."""
    headers = {HEADER: hook.secret} if hook.secret else {}
    try:
        async with session.post(hook.url, json=update, headers=headers) as response:
            if response.status // 100 == 2:
                return None
            return (
                f"Wrong response from the webhook: {response.status} {response.reason}"
            )
    except aiohttp.ClientError:
        return "Connection refused"
    except TimeoutError:
        return "Read timeout expired"
