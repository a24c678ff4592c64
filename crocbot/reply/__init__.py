"""
A Reply to what Telegram can carry, delivered in order, and seen while it grows.

    markdown    Markdown -> text and entities, block by block
    cutting     blocks -> pieces that fit into a message each
    courier     pieces -> Telegram, with patience; the whole reply, always
    stream      a reply that is still being written -> edits, within the flood limits
"""

from __future__ import annotations

from crocbot.reply.courier import Courier, Shown, Transport
from crocbot.reply.stream import Stream

__all__ = ["Courier", "Shown", "Stream", "Transport"]
