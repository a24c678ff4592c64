"""
The context of a message as fields of the question that the agent `http` gets.

    {"sender_name": "Ada", "reply_to": {"text": "an iguana", "author": "Bob", ...},
     "forward": null, "links": [], "button": null, "edited": false}
"""

from __future__ import annotations

from typing import Any

from crocbot.content import ForwardOrigin, Press, QuotedMessage
from crocbot.model import Message


def context_fields(message: Message) -> dict[str, Any]:
    """Return the fields; they describe untrusted texts of other people."""
    context = message.context
    return {
        "sender_name": context.sender,
        "reply_to": _reply_to(context.quoted),
        "forward": _forward(context.forward),
        "links": [{"text": link.text, "url": link.url} for link in context.links],
        "button": _button(context.press),
        "edited": message.edited,
    }


def _reply_to(quoted: QuotedMessage | None) -> dict[str, Any] | None:
    if quoted is None:
        return None
    return {
        "message_id": quoted.message_id,
        "author": quoted.author,
        "own": quoted.own,
        "text": quoted.text,
        "quote": quoted.part,
        "media": [
            {"kind": each.type, "description": each.description}
            for each in quoted.attachments
        ],
        "links": [{"text": link.text, "url": link.url} for link in quoted.links],
    }


def _forward(origin: ForwardOrigin | None) -> dict[str, Any] | None:
    if origin is None:
        return None
    return {"kind": str(origin.type), "name": origin.name, "date": origin.date}


def _button(press: Press | None) -> dict[str, Any] | None:
    return None if press is None else {"data": press.data, "label": press.label}
