"""
The Telegram Bot API; no other package makes requests to it.

    poller.py  --> client.py --> bot.py --> api.telegram.org, or a self-hosted server
        |          |             '-- python-telegram-bot over aiohttp; knows the token
        |          '-- the calls that the gateway makes; FloodControl delays them
        '-- raw updates in order, while there is capacity

    leader_poller.py    polling where replicas share a database

    optional.py    calls that a server may lack, such as drafts

    webhook.py     the same updates from requests of Telegram
"""

from __future__ import annotations

from crocbot.botapi.client import Client
from crocbot.botapi.leader_poller import LeaderPoller
from crocbot.botapi.optional import OptionalCalls
from crocbot.botapi.poller import Poller
from crocbot.botapi.webhook import Webhook, WebhookEndpoint

__all__ = [
    "Client",
    "LeaderPoller",
    "OptionalCalls",
    "Poller",
    "Webhook",
    "WebhookEndpoint",
]
