"""
A Reply to what Telegram can carry, delivered in order, and seen while it grows.

    markdown    Markdown -> text and entities, block by block
    cutting     blocks -> pieces that fit into a message each
    courier     pieces -> Telegram, with patience; the whole reply, always
    stream      a reply that is still being written -> edits, within the flood limits
"""

from __future__ import annotations

from crocbot.reply.delivery import Delivery, SentReply, Transport
from crocbot.reply.live import Stream

__all__ = ["Delivery", "SentReply", "Stream", "Transport"]
