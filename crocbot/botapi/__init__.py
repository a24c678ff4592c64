"""
The Telegram door: everything that speaks to the Bot API, and nothing else does.

    poller --> client --> request --> api.telegram.org, or a server of one's own
      |          |           '-- the only one who knows the token
      |          '-- the few calls that we make; their errors become ours
      '-- raw updates, in order, as long as there is room for them

    webhook: the same from Telegram's own calls
"""

from __future__ import annotations

from crocbot.botapi.client import Client
from crocbot.botapi.poller import Poller
from crocbot.botapi.webhook import Door, Webhook, door

__all__ = ["Client", "Door", "Poller", "Webhook", "door"]
