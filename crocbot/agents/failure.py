"""
What a log may show of an exception in an agent's function: no texts of messages.

    ValueError: invalid literal for int() with base 10: 'hello'
    --> ValueError: invalid literal for int() with base 10: '…'   if a message has hello

The text of an exception often quotes what was worked on.  Words of it that occur in the
question are replaced, and a text with escapes, which may hide such words, is left out.
"""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MAX_TEXT_CHARS = 300
MAX_FRAMES = 20
MAX_EXCEPTIONS = 8
MIN_PART_CHARS = 4
WORD = re.compile(r"\w+")
# Of Python, of URLs, of HTML.
ESCAPE = re.compile(r"\\[xuUN0-7]|%[0-9A-Fa-f]{2}|&#?\w+;")
MASK = "…"
LEFT_OUT = "(its text is left out)"
CAUSE = "The cause of the next exception:"
CONTEXT = "While this exception was handled, the next one was raised:"


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception: its type with the place, and its traceback, in words."""

    summary: str
    traceback: str


def describe(error: BaseException, texts: Iterable[str], hidden: str) -> Failure:
    """
    Return an exception in words; `texts` are those that must not be shown.

    Frames of the file `hidden`, which calls the function, are left out.
    """
    name = type(error).__name__[:MAX_TEXT_CHARS]
    try:
        lines = list(_lines(error, _Mask(texts), hidden, [MAX_EXCEPTIONS]))
        frames = _frames(error, hidden)
    except Exception:
        # Of what the exception is made of, methods of the function's own may fail.
        return Failure(name, "its traceback cannot be read")
    if not frames:
        return Failure(name, "\n".join(lines))
    last = frames[-1]
    file = os.path.basename(last.filename)  # noqa: PTH119 (a text)
    return Failure(f"{name} in {file}, line {last.lineno}", "\n".join(lines))


def _frames(error: BaseException, hidden: str) -> list[traceback.FrameSummary]:
    """Return the last frames; their source lines are those of the function."""
    summary = traceback.extract_tb(error.__traceback__, limit=-MAX_FRAMES)
    return [frame for frame in summary if frame.filename != hidden]


def _lines(
    error: BaseException, mask: _Mask, hidden: str, left: list[int]
) -> Iterator[str]:
    """Yield the lines of a traceback, causes first, at most `left` exceptions."""
    left[0] -= 1
    before, heading = error.__cause__, CAUSE
    if before is None and not error.__suppress_context__:
        before, heading = error.__context__, CONTEXT
    if before is not None and left[0] > 0:
        yield from _lines(before, mask, hidden, left)
        yield heading
    yield "Traceback (most recent call last):"
    for entry in traceback.format_list(_frames(error, hidden)):
        yield from entry.rstrip("\n").split("\n")
    yield f"{type(error).__qualname__[:MAX_TEXT_CHARS]}: {mask.text_of(error)}"
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            if left[0] <= 0:
                return
            yield from (f"  | {line}" for line in _lines(each, mask, hidden, left))


def describe_unknown(error: BaseException) -> str:
    """Return an exception's type and place, if it is not known what its text quotes."""
    return describe(error, (), "").summary


class _Mask:
    """Replaces the words of some texts."""

    def __init__(self, texts: Iterable[str]) -> None:
        whole = "\n".join(texts)
        self._text = whole.casefold()
        # Folding may split a word: that of a dotted capital I has a combining dot.
        folded = (word.casefold() for word in WORD.findall(whole))
        self._words = frozenset([*folded, *WORD.findall(self._text)])
        self._long = [word for word in self._words if len(word) >= MIN_PART_CHARS]

    def text_of(self, error: BaseException) -> str:
        """Return the text of an exception in one line, without these words."""
        try:
            text = str(error)[:MAX_TEXT_CHARS]
        except BaseException:  # also SystemExit of a method of its own
            return LEFT_OUT
        if ESCAPE.search(text):
            return LEFT_OUT
        return " ".join(WORD.sub(self._masked, text).split())

    def _masked(self, match: re.Match[str]) -> str:
        word = match.group().casefold()
        is_part = len(word) >= MIN_PART_CHARS and word in self._text
        has_part = any(part in word for part in self._long)
        return MASK if word in self._words or is_part or has_part else match.group()
