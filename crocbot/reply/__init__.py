"""
Reply to Telegram messages: delivered whole and in order, visible while it grows.

    markdown    Markdown -> text and entities, block by block
    split       blocks -> parts that fit into one message each
    delivery    parts -> Telegram, with retries until the whole reply is there
    live        a reply that is still being written -> edits, within the flood limits
    rich        what entities cannot show -> one message, if the operator wants it
    draft       the same in a private chat -> drafts
    chat_order  answers and pushed messages of a chat, one after the other
"""

from __future__ import annotations

from crocbot.reply.chat_order import ChatOrder
from crocbot.reply.delivery import Delivery, ReplyProgress
from crocbot.reply.draft import Drafts
from crocbot.reply.live import LiveDelivery
from crocbot.reply.rich_delivery import RichDelivery
from crocbot.reply.typing_action import shown_as_typing

__all__ = [
    "ChatOrder",
    "Delivery",
    "Drafts",
    "LiveDelivery",
    "ReplyProgress",
    "RichDelivery",
    "shown_as_typing",
]
