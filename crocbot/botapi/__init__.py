"""
The Telegram Bot API; no other package makes requests to it.

    poller.py  --> client.py --> bot.py --> api.telegram.org, or a self-hosted server
        |          |             '-- python-telegram-bot over aiohttp; knows the token
        |          '-- the calls that the gateway makes; FloodControl delays them
        '-- raw updates in order, while there is capacity

    optional.py    calls that a server may lack, such as drafts

    webhook.py     the same updates from requests of Telegram
"""

from __future__ import annotations

from crocbot.botapi.client import Client
from crocbot.botapi.optional import OptionalCalls
from crocbot.botapi.poller import Poller
from crocbot.botapi.webhook import Webhook, WebhookEndpoint

__all__ = ["Client", "OptionalCalls", "Poller", "Webhook", "WebhookEndpoint"]
