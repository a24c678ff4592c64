"""The formatting of a text, as the Bot API takes it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from crocbot.model import MessagePart


def entities(part: MessagePart) -> list[dict[str, Any]] | None:
    """Return the formatting as Telegram's MessageEntity objects, or None."""
    return [
        {name: value for name, value in asdict(entity).items() if value is not None}
        for entity in part.entities
    ] or None
