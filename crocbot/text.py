"""
Text as Telegram counts and shows it.

Telegram measures lengths in UTF-16 units, of which an emoji takes two, and refuses a
message that shows nothing.
"""

from __future__ import annotations

import unicodedata

# Telegram's longest message, in UTF-16 units.
MAX_MESSAGE_UNITS = 4096
# Unicode categories of white space, control and format characters.
INVISIBLE = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})
# Two more characters that Telegram takes for white space: the empty Braille pattern and
# the one that stands for an object.
BLANK = frozenset("\u2800\ufffc")


def utf16_length(text: str) -> int:
    """Return the length in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def is_visible(text: str) -> bool:
    """Return whether a text has at least one visible character."""
    return any(
        unicodedata.category(char) not in INVISIBLE and char not in BLANK
        for char in text
    )


def printable(text: str) -> str:
    """Return a text as one printable line, with ? for each other character."""
    return "".join(char if char.isprintable() else "?" for char in text)


def time_span(seconds: float) -> str:
    """
    Return a duration in one unit, rounded down.

        59 -> 59 s    3700 -> 1 h
    """
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def replace_lone_surrogates(text: str) -> str:
    """Replace each half of a surrogate pair, which cannot be encoded, by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
