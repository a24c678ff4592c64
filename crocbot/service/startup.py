"""The first contact with Telegram, repeated until it answers."""

from __future__ import annotations

import asyncio

from crocbot import log
from crocbot.backoff import Backoff
from crocbot.botapi import Client
from crocbot.commands import MENU
from crocbot.errors import (
    CrocbotError,
    DeliveryError,
    FloodWaitError,
    OperatorError,
    TelegramError,
)
from crocbot.events import EventListener
from crocbot.model import (
    BotIdentity,
    ErrorEvent,
    ErrorType,
    Severity,
    Sleep,
)
from crocbot.service.readiness import Readiness

FIRST_PAUSE_SECONDS = 1.0

logger = log.logger(__name__)


async def connect(
    client: Client,
    *,
    events: EventListener,
    readiness: Readiness,
    warning: str | None = None,
    sleep: Sleep = asyncio.sleep,
) -> BotIdentity:
    """
    Set the bot's command menu and return its identity, once Telegram answers.

    Until then `readiness` has the reason.  Only an OperatorError ends the retries.  If
    the first attempt raises one, it is the only line: `warning` is logged once later.
    """
    backoff = Backoff(first=FIRST_PAUSE_SECONDS)
    while True:
        try:
            identity = await client.get_me()
            break
        except FloodWaitError as error:
            pause, reason = error.seconds, str(error)
        except (TelegramError, DeliveryError) as error:
            if isinstance(error, TelegramError):
                events.emit(ErrorEvent(ErrorType(error.reason), Severity.WARNING))
            pause, reason = backoff.next_pause(), str(error)
        readiness.startup_error = reason
        if warning is not None:
            logger.warning(warning)
            warning = None
        logger.warning(
            "Telegram cannot be reached yet", error=reason, next_in=round(pause, 1)
        )
        await sleep(pause)
    await _set_menu(client)
    if warning is not None:
        logger.warning(warning)
    return identity


async def _set_menu(client: Client) -> None:
    """Set the menu of commands, which the gateway can do without."""
    try:
        await client.set_my_commands(MENU)
    except OperatorError:
        raise
    except CrocbotError as error:
        logger.warning("the menu of commands was not set", error=str(error))
