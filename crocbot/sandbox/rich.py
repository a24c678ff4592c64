"""
Rich messages: what a bot may send as one, and how a chat has it.

    {"markdown": "| a | b |..."} --> {"rich_message": {"markdown": ...}}, without text

The sandbox does not parse them; a real server makes blocks of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crocbot.sandbox import messages
from crocbot.sandbox.parameters import BotApiError

MAX_RICH_UNITS = 32_768
FORMS = ("html", "markdown", "blocks")


def content(value: Any) -> dict[str, Any]:
    """Return the content of a message for an InputRichMessage, or BotApiError."""
    if not isinstance(value, Mapping):
        raise BotApiError(400, "Bad Request: object expected as rich message")
    given = [form for form in FORMS if value.get(form)]
    if len(given) != 1:
        raise BotApiError(400, "Bad Request: rich message must be non-empty")
    text = value[given[0]]
    if isinstance(text, str) and messages.units(text) > MAX_RICH_UNITS:
        raise BotApiError(400, "Bad Request: RICH_MESSAGE_TOO_LONG")
    return {"rich_message": {given[0]: text}}


def shown_text(sent: Mapping[str, Any]) -> str:
    """Return what a reader sees of a message: its text, or its source if it is rich."""
    rich = sent.get("rich_message")
    if isinstance(rich, Mapping):
        return str(next(iter(rich.values())))
    return str(sent.get("text", sent.get("caption", "")))
