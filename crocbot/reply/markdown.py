"""
Markdown to blocks: text, and entities that say how it looks.

    "# Title\\n\\nSome **bold** text."
    --> "Title" bold          "Some bold text." bold at 5, 4 long

Every paragraph, list and code block is converted by itself: what grows at the end
changes nothing before it, and what cannot be converted spoils no more than itself.

- Nothing visible gets lost.  What a block shows is compared with what was written, and
  a block that would show anything else stays as it was written.
- What Markdown takes for HTML, formulas and spoilers is text here.
"""

from __future__ import annotations

import html
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from telegramify_markdown import RenderConfig, convert

from crocbot.model import Entity
from crocbot.text import whole

FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
LINK = re.compile(r"(https?|tg)://\S+")
ENTITIES = frozenset(
    {
        *("bold", "italic", "underline", "strikethrough", "spoiler"),
        *("code", "pre", "text_link", "blockquote", "expandable_blockquote"),
    }
)
BULLET, DONE, TO_DO, RULE = "•", "☑", "☐", "———"
# Written for us, read by nobody: these stand for what Markdown must not see.
# What Markdown must not see, with what stands for it meanwhile: as long, and unused.
VEILED = ("||", "<", "$")
VEILS = [chr(code) for code in range(0xE000, 0xF8FF)]
# What Markdown itself adds, drops or counts anew.
MARKS = frozenset(string.punctuation + BULLET + DONE + TO_DO + RULE)
NUMBERS = re.compile(r"^(?:[^\w\n]|_)*\d{1,9}[.)](?=[\s*_]|$)", re.MULTILINE)
TASKS = re.compile(r"^([ \t>]*[-*+]) +\[[ xX]\](?=\s)", re.MULTILINE)
# Lists in lists and quotes in quotes, all in one line: the indentation of the inner
# ones would grow with the square of how many there are.
DEEP = re.compile(r"^[ \t]*(?:>[ \t]*|(?:[-*+]|\d{1,9}[.)])[ \t]+){16}", re.M)


def _config() -> RenderConfig:
    """Nothing that nobody wrote: no pictures before titles and links."""
    config = RenderConfig.isolated()
    symbol = config.markdown_symbol
    symbol.heading_level_1 = symbol.heading_level_2 = ""
    symbol.heading_level_3 = symbol.heading_level_4 = ""
    symbol.image = ""
    symbol.task_completed, symbol.task_uncompleted = DONE, TO_DO
    symbol.horizontal_rule, symbol.unordered_list_item = RULE, BULLET
    return config


CONFIG = _config()


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a reply that is better not cut; `lines` stand before it."""

    text: str
    entities: tuple[Entity, ...] = ()
    lines: int = 2


def blocks(text: str) -> Iterator[Block]:
    """Convert a text, block by block."""
    for source, lines in _sources(whole(text)):
        yield replace(_convert(source), lines=lines)


def plain(text: str) -> Iterator[Block]:
    """Leave a text as it is."""
    yield Block(whole(text))


def _sources(text: str) -> Iterator[tuple[str, int]]:
    """
    Cut at blank lines and around code; never in code, nor before what is indented.

        "Text:\\n```\\ncode\\n\\ncode\\n```\\n- one\\n\\n  more of one"
         1----  2--------------------------  3-------------------
    """
    lines = text.replace("\r\n", "\n").split("\n")
    starts = [*_starts(lines), len(lines)]
    gap = 1
    for begin, end in pairwise(starts):
        block = lines[begin:end]
        while not block[-1].strip():
            block.pop()
        yield "\n".join(block), min(gap, 2)
        gap = end - begin - len(block) + 1


def _starts(lines: Sequence[str]) -> Iterator[int]:
    """At which lines a block begins."""
    fence, after_fence, blank = "", True, False
    for number, line in enumerate(lines):
        words = line.strip()
        if fence:
            if words.startswith(fence) and not words.strip(fence[0]):
                fence, after_fence = "", True
            continue
        if not words:
            blank = True
            continue
        fence = _fence(line)
        if fence or after_fence or (blank and not line[0].isspace()):
            yield number
        after_fence = blank = False


def _fence(line: str) -> str:
    """The fence that opens code here; a language has no backtick in it."""
    opening = FENCE.match(line)
    if opening is None or (opening[1][0] == "`" and "`" in opening[2]):
        return ""
    return opening[1]


@lru_cache(maxsize=128)
def _convert(source: str) -> Block:
    if DEEP.search(source):
        return Block(source)
    try:
        block = _rendered(source)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        # A panic of the parser, which is written in Rust, is no Exception.
        return Block(source)
    return block if _letters(_readable(block)) == _letters(source) else Block(source)


def _rendered(source: str) -> Block:
    veils = {}
    spare = (veil for veil in VEILS if veil not in source)
    for words in VEILED:
        veils[words] = "".join(next(spare) for _ in words)
        source = source.replace(words, veils[words])

    def unveil(text: str | None) -> str | None:
        for words, veil in veils.items():
            text = text and text.replace(veil, words)
        return text

    text, found = convert(source, latex_escape=False, config=CONFIG)
    entities = (
        Entity(one.type, one.offset, one.length, unveil(one.url), unveil(one.language))
        for one in found
        if one.type in ENTITIES
    )
    kept = (one for one in entities if one.url is None or LINK.fullmatch(one.url))
    return Block(unveil(text) or "", tuple(kept))


def _readable(block: Block) -> str:
    """The text with what its entities say besides: where a link leads, the language."""
    marks = [
        (one.offset, one.language)
        if one.language
        else (one.offset + one.length, one.url)
        for one in block.entities
        if one.language or one.url
    ]
    data = block.text.encode("utf-16-le")
    for offset, words in sorted(marks, key=lambda mark: mark[0], reverse=True):
        inserted = f" {words} ".encode("utf-16-le")
        data = data[: 2 * offset] + inserted + data[2 * offset :]
    return data.decode("utf-16-le")


def _letters(text: str) -> list[str]:
    """What must not get lost: everything but marks, list numbers and white space."""
    text = TASKS.sub(r"\1", NUMBERS.sub("", html.unescape(text)))
    return [one for one in text if not one.isspace() and one not in MARKS]
