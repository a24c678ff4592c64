"""
What Telegram makes of a text.

It counts in UTF-16 units, of which an emoji takes two, and takes no message that shows
nothing.
"""

from __future__ import annotations

import unicodedata

# White space of all kinds, control characters and what only changes others.
INVISIBLE = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})


def units(text: str) -> int:
    """The length of a text as Telegram counts it."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def visible(text: str) -> bool:
    """Whether a text shows anything."""
    return any(unicodedata.category(one) not in INVISIBLE for one in text)


def whole(text: str) -> str:
    """Replace half a surrogate pair, as a careless program may cut it: none is text."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
