"""
A plain echo bot with python-telegram-bot, 64 updates at a time.

    python plain_bot.py <token> <url of the Bot API>

It has the default HTTP client (httpx) and writes nothing to disk.
"""

from __future__ import annotations

import logging
import sys

from telegram import Update
from telegram.ext import Application, ContextTypes, MessageHandler, filters


async def echo(update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
    """Answer with the same text."""
    if update.message and update.message.text:
        await update.message.reply_text(update.message.text)


def main(token: str, url: str) -> None:
    """Poll until killed."""
    logging.basicConfig(level=logging.WARNING)
    application = (
        Application.builder()
        .token(token)
        .base_url(f"{url}/bot")
        .concurrent_updates(64)
        .build()
    )
    application.add_handler(MessageHandler(filters.TEXT, echo))
    application.run_polling()


if __name__ == "__main__":
    main(*sys.argv[1:])
