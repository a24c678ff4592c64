"""Telegram, met for the first time: who are we?  However long it takes."""

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

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0

Result = TypeVar("Result")
logger = log.logger(__name__)


async def greet(
    client: Client,
    menu: Mapping[str, str],
    events: EventListener,
    note: Callable[[str], None] = lambda _: None,
) -> BotIdentity:
    """Learn who we are and show the menu of commands; `note` is told what hinders."""
    me = await persist(client.get_me, events, note)
    try:
        await client.set_my_commands(menu)
    except OperatorError:
        raise
    except CrocbotError as error:
        logger.warning("the menu of commands was not set", error=str(error))
    return me


async def persist(
    call: Callable[[], Awaitable[Result]],
    events: EventListener,
    note: Callable[[str], None] = lambda _: None,
) -> Result:
    """Call until Telegram answers."""
    pause = FIRST_PAUSE
    while True:
        wait, why = pause * random.uniform(0.8, 1.2), ""
        try:
            return await call()
        except FloodWaitError as error:
            wait, why = error.seconds, str(error)
        except TelegramError as error:
            events.emit(ErrorEvent(ErrorType(error.reason), Severity.WARNING))
            why = str(error)
        except DeliveryError as error:
            why = str(error)
        note(why)
        next_in = round(wait, 1)
        logger.warning("Telegram cannot be reached yet", error=why, next_in=next_in)
        await asyncio.sleep(wait)
        pause = min(pause * 1.5, LONGEST_PAUSE)
