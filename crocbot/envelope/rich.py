"""
The text of a rich message (Bot API 10.1), which has blocks in place of a text.

    {"blocks": [{"type": "heading", "text": "Lizards"},
                {"type": "paragraph", "text": ["an ", {"type": "bold", "text": "i"}]},
                {"type": "table", "cells": [[{"text": "a"}, {"text": "b"}]]}]}
    --> Lizards
        an i
        a | b

Blocks of a kind that is not known give the texts in them.  Never raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 20
MAX_CHARS = 65_536
INLINE = ("label", "header", "summary", "title", "text", "expression", "caption")
INLINE_END = ("credit", "alternative_text")
BLOCKS = ("blocks", "items", "cells")


def rich_text(message: Any) -> str:
    """Return the text of a RichMessage, a line for each block; bounded."""
    return _block(message, MAX_DEPTH)[:MAX_CHARS]


def _block(value: Any, depth: int) -> str:
    if not depth or not isinstance(value, Mapping):
        return _inline(value, depth)
    inline = [_inline(value.get(name), depth - 1) for name in (*INLINE, *INLINE_END)]
    blocks = [_blocks(value.get(name), depth - 1) for name in BLOCKS]
    return "\n".join(filter(None, [*inline, *blocks]))


def _blocks(value: Any, depth: int) -> str:
    if not isinstance(value, list):
        return _inline(value, depth)
    return "\n".join(filter(None, (_row(each, depth) for each in value)))


def _row(value: Any, depth: int) -> str:
    """Return a block, or the row of a table, which is a list of cells."""
    if isinstance(value, list) and depth:
        return " | ".join(_block(cell, depth - 1) for cell in value)
    return _block(value, depth)


def _inline(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return value
    if not depth:
        return ""
    if isinstance(value, list):
        return "".join(_inline(each, depth - 1) for each in value)
    if isinstance(value, Mapping):
        parts = (value.get(name) for name in (*INLINE, *INLINE_END))
        return "".join(_inline(each, depth - 1) for each in parts)
    return ""
