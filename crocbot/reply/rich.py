"""
Which answers are sent as rich messages (Bot API 10.1), and in which form.

    "| a | b |\\n|---|---|\\n| 1 | 2 |"  --> needs_rich: a table
    "\\\\(x^2\\\\)"                       --> needs_rich: a formula; sent as $x^2$
    more than 4,096 units              --> needs_rich: several messages otherwise

Telegram parses the Markdown.  Some apps show rich messages badly or not at all, and the
Bot API does not tell which app a reader has: so only what formatting entities cannot
show is sent like this, and only if the operator wants it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from crocbot.reply import formulas
from crocbot.text import MAX_MESSAGE_UNITS, utf16_length

# Telegram's limits of a rich message; each line is counted as a block.
MAX_RICH_UNITS = 32_768
MAX_RICH_BLOCKS = 500
MAX_COLUMNS = 20

# What is in one that is written between single dollar signs.
MATHEMATICS = re.compile(r"[\\^_={}<>+]|^\$[A-Za-z]\w?\$$")
FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
# The line below the head of a table.
DELIMITER_ROW = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-*:?[ \t]*)+")


def needs_rich(text: str) -> bool:
    """Return whether entities in one message cannot show what a Markdown text has."""
    if utf16_length(text) > MAX_MESSAGE_UNITS or _tables(text):
        return True
    return any(map(_is_formula, _formulas(text)))


def fits_rich(text: str) -> bool:
    """Return whether Telegram accepts a text as a rich message."""
    lines = [line for line in text.splitlines() if line.strip()]
    return (
        utf16_length(text) <= MAX_RICH_UNITS
        and len(lines) <= MAX_RICH_BLOCKS
        and all(columns <= MAX_COLUMNS for columns in _tables(text))
    )


def rich_markdown(text: str) -> str:
    """Return a text with its formulas between dollar signs, as Telegram reads them."""
    parts, position = [], 0
    for begin, end in formulas.find(text):
        parts += [text[position:begin], _formula(text[begin:end])]
        position = end
    return "".join([*parts, text[position:]])


def _formulas(text: str) -> list[str]:
    return [text[begin:end] for begin, end in formulas.find(text)]


def _is_formula(source: str) -> bool:
    """Return whether it is more than two prices: $5, or US$."""
    inline = source.startswith("$") and not source.startswith("$$")
    return not inline or MATHEMATICS.search(source) is not None


def _formula(source: str) -> str:
    if source.startswith("\\("):
        return f"${source[2:-2].strip()}$"
    if source.startswith("\\["):
        return f"$${source[2:-2]}$$"
    return f"$${source}$$" if source.startswith("\\begin") else source


def _tables(text: str) -> list[int]:
    """Return the number of columns of each table, outside of code."""
    return list(_columns(text))


def _columns(text: str) -> Iterator[int]:
    fence, before = "", ""
    for line in text.splitlines():
        marker = FENCE.match(line)
        if marker is not None and not (fence and not marker[1].startswith(fence)):
            fence = "" if fence else marker[1]
        elif not fence and "|" in before and DELIMITER_ROW.fullmatch(line):
            yield len(line.strip().strip("|").split("|"))
        before = line
