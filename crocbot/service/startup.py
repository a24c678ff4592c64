"""The first contact with Telegram, repeated until it answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from crocbot import log
from crocbot.botapi import Client
from crocbot.errors import (
    CrocbotError,
    DeliveryError,
    FloodWaitError,
    OperatorError,
    TelegramError,
)
from crocbot.events import EventListener
from crocbot.model import BotIdentity, ErrorEvent, ErrorType, Severity
from crocbot.service.readiness import Readiness

FIRST_PAUSE = 1.0
MAX_PAUSE_SECONDS = 30.0

Result = TypeVar("Result")
logger = log.logger(__name__)


async def connect(
    client: Client,
    menu: Mapping[str, str],
    *,
    events: EventListener,
    readiness: Readiness,
) -> BotIdentity:
    """Return the bot's identity, once Telegram answers, and set its command menu."""
    identity = await retry_until_connected(client.get_me, events, readiness)
    try:
        await client.set_my_commands(menu)
    except OperatorError:
        raise
    except CrocbotError as error:
        logger.warning("the menu of commands was not set", error=str(error))
    return identity


async def retry_until_connected(
    call: Callable[[], Awaitable[Result]],
    events: EventListener,
    readiness: Readiness,
) -> Result:
    """Call until Telegram answers; only an OperatorError ends it."""
    pause = FIRST_PAUSE
    while True:
        wait = pause * random.uniform(0.8, 1.2)
        try:
            return await call()
        except FloodWaitError as error:
            wait, reason = error.seconds, str(error)
        except TelegramError as error:
            events.emit(ErrorEvent(ErrorType(error.reason), Severity.WARNING))
            reason = str(error)
        except DeliveryError as error:
            reason = str(error)
        readiness.startup_error = reason
        logger.warning(
            "Telegram cannot be reached yet", error=reason, next_in=round(wait, 1)
        )
        await asyncio.sleep(wait)
        pause = min(pause * 1.5, MAX_PAUSE_SECONDS)
