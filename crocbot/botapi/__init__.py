"""
The Telegram Bot API; no other package makes requests to it.

    poller.py  --> client.py --> bot.py --> request.py --> api.telegram.org, or a
        |          |             |           |             self-hosted server
        |          |             |           '-- the only place that knows the token
        |          |             '-- python-telegram-bot, its errors translated
        |          '-- the calls that the gateway makes, within flood waits
        '-- raw updates in order, while there is capacity

    webhook.py     the same updates from requests of Telegram
"""

from __future__ import annotations

from crocbot.botapi.client import Client
from crocbot.botapi.poller import Poller
from crocbot.botapi.webhook import Webhook, WebhookEndpoint

__all__ = ["Client", "Poller", "Webhook", "WebhookEndpoint"]
