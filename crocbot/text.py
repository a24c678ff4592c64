"""What Telegram counts in: UTF-16 units; an emoji takes two of them."""

from __future__ import annotations


def units(text: str) -> int:
    """The length of a text as Telegram counts it."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def whole(text: str) -> str:
    """Replace half a surrogate pair, as a careless program may cut it: none is text."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
