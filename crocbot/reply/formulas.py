r"""
Formulas in LaTeX, whose backslashes and underscores are no Markdown.

    \[ \int x \, dx \]    \( a_1 \)    $$ a_1 $$    $a_1$    \begin{align} \end{align}

Not a formula: what is in `code` or in the address of a link, an escaped backslash, and
a price: $5, or US$ 5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

# Whatever can begin a formula, or hide one.
TOKEN = re.compile(
    r"`+|\]\((?:\\.|[^()\s\\])*\)|\\\[|\\\(|\$\$?|\\begin\{[A-Za-z]+\*?\}|\\.",
    re.DOTALL,
)
# As in Pandoc: no space inside next to the signs, no digit after the second one.
INLINE = re.compile(r"(?<![\w$])\$(?=[^\s$])(?:\\.|[^$\\\n])+(?<!\s)\$(?![\d$])")
CLOSING = {"\\[": "\\]", "\\(": "\\)", "$$": "$$"}
DISPLAY = ("\\[", "$$", "\\begin{")
# Closings that are missing are searched for once each: the time stays linear.
MAX_MISSING = 32


def find(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each formula begins and ends."""
    position, missing = 0, set[str]()
    while len(missing) < MAX_MISSING:
        token = TOKEN.search(text, position)
        if token is None:
            return
        position = token.end()
        if token[0] == "$":
            inline = INLINE.match(text, token.start())
            end = -1 if inline is None else inline.end()
        else:
            end = _end(text, token, missing)
        if end < 0:
            continue
        if token[0][0] != "`":
            yield token.start(), end
        position = end


def closing_lines(lines: Sequence[str]) -> dict[int, int]:
    """
    Return the last line of each formula that begins a line and ends in a later one.

    The keys are the numbers of the lines in which they begin.
    """
    last: dict[str, int] = {}
    spans = {}
    for number in range(len(lines) - 1, -1, -1):
        line = lines[number].strip()
        if line.startswith(DISPLAY) and (closing := _closing(line)):
            opening_end = line.index("}") + 1 if line[1:2] == "b" else 2
            if closing not in line[opening_end:] and closing in last:
                spans[number] = last[closing]
        for closing in {*CLOSING.values(), *re.findall(r"\\end\{[A-Za-z]+\*?\}", line)}:
            if closing in line:
                last[closing] = number
    return spans


def _end(text: str, token: re.Match[str], missing: set[str]) -> int:
    """Return where a formula or a piece of code ends, -1 if it does not."""
    closing = _closing(token[0])
    if closing is None or closing in missing:
        return -1
    if closing[0] == "`":
        run = re.compile(f"(?<!`){closing}(?!`)").search(text, token.end())
        end = -1 if run is None else run.end()
    else:
        found = text.find(closing, token.end())
        end = -1 if found < 0 else found + len(closing)
    if end < 0:
        missing.add(closing)
    return end


def _closing(opening: str) -> str | None:
    """Return what closes a formula or code that begins like this, if anything does."""
    if opening[0] == "`":
        return opening
    if name := re.match(r"\\begin(\{[A-Za-z]+\*?\})", opening):
        return f"\\end{name[1]}"
    return CLOSING.get(opening[:2])
