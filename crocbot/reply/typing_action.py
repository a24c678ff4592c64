"""
The bot shown as typing while something else than an answer takes its time.

    async with shown_as_typing(progress):
        ...    files are loaded, a recording is turned into words
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from crocbot.errors import DeliveryError, FloodWaitError, TelegramError
from crocbot.reply.delivery import ReplyProgress
from crocbot.reply.live import LIVE_AFTER_SECONDS, TYPING_SECONDS


@asynccontextmanager
async def shown_as_typing(progress: ReplyProgress) -> AsyncIterator[None]:
    """Show the bot as typing until the block ends, if it takes long."""
    task = asyncio.create_task(_type_repeatedly(progress))
    try:
        yield
    finally:
        task.cancel()


async def _type_repeatedly(progress: ReplyProgress) -> None:
    await asyncio.sleep(LIVE_AFTER_SECONDS)
    while True:
        # It is only a courtesy: errors are neither logged nor counted.
        with suppress(TelegramError, FloodWaitError, DeliveryError):
            await progress.send_typing()
        await asyncio.sleep(TYPING_SECONDS)
