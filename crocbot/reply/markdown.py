"""
Markdown to blocks: text with Telegram's formatting entities.

    "# Title\\n\\nSome **bold** text."
    --> "Title" bold          "Some bold text." bold at 5, 4 long

Every paragraph, list and code block is converted by itself: a reply that grows at its
end keeps the blocks before it, and a block that cannot be converted affects no other.

- No visible character is lost: the rendered block is compared with its source, and
  stays as it was written if they differ.
- HTML, formulas and spoilers are plain text, written as they were.
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

from crocbot.content import Entity
from crocbot.reply import formulas
from crocbot.text import replace_lone_surrogates, utf16_length

FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
LINK = re.compile(r"(https?|tg)://\S+")
ENTITIES = frozenset(
    {
        *("bold", "italic", "underline", "strikethrough", "spoiler"),
        *("code", "pre", "text_link", "blockquote", "expandable_blockquote"),
    }
)
BULLET, DONE, TO_DO, RULE = "•", "☑", "☐", "———"
# Strings that the parser must not see; private-use characters, as many and not in the
# text, replace them meanwhile.
PROTECTED = ("||", "<", "$")
PLACEHOLDERS = [chr(code) for code in range(0xE000, 0xF8FF)]
# Characters that Markdown adds, drops or renumbers.
MARKUP = frozenset(string.punctuation + BULLET + DONE + TO_DO + RULE)
NUMBERS = re.compile(r"^(?:[^\w\n]|_)*\d{1,9}[.)](?=[\s*_]|$)", re.MULTILINE)
TASKS = re.compile(r"^([ \t>]*[-*+]) +\[[ xX]\](?=\s)", re.MULTILINE)
# 16 nested lists or quotes in one line: the parser's indentation of the inner ones
# would grow with the square of the depth.
TOO_DEEP = re.compile(r"^[ \t]*(?:>[ \t]*|(?:[-*+]|\d{1,9}[.)])[ \t]+){16}", re.M)


def _config() -> RenderConfig:
    """Return a configuration that adds no emoji before titles and links."""
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
    """A paragraph, list or code block of a reply, with `newlines` before it."""

    text: str
    entities: tuple[Entity, ...] = ()
    newlines: int = 2


def blocks(text: str) -> Iterator[Block]:
    """Convert Markdown, block by block."""
    for source, newlines in _sources(replace_lone_surrogates(text)):
        yield replace(_convert(source), newlines=newlines)


def _sources(text: str) -> Iterator[tuple[str, int]]:
    """
    Split at blank lines and around code, but not in code or before indented lines.

    Yield each block's source and the newlines before it.

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
    """Yield the numbers of the lines that begin a block."""
    fence, after_fence, blank = "", True, False
    formula_ends, in_formula = formulas.closing_lines(lines), -1
    for number, line in enumerate(lines):
        stripped = line.strip()
        if number <= in_formula:
            blank = False
            continue
        if fence:
            if stripped.startswith(fence) and not stripped.strip(fence[0]):
                fence, after_fence = "", True
            continue
        if not stripped:
            blank = True
            continue
        fence = _fence(line)
        if fence or after_fence or (blank and not line[0].isspace()):
            yield number
        if not fence:
            in_formula = formula_ends.get(number, -1)
        after_fence = blank = False


def _fence(line: str) -> str:
    """Return the fence that opens code in this line, or an empty text."""
    opening = FENCE.match(line)
    # The name of a language has no backtick.
    if opening is None or (opening[1][0] == "`" and "`" in opening[2]):
        return ""
    return opening[1]


@lru_cache(maxsize=128)
def _convert(source: str) -> Block:
    if TOO_DEEP.search(source):
        return Block(source)
    try:
        block = _render(source)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        # A panic of the parser, which is written in Rust, is not an Exception.
        return Block(source)
    same = _content(_visible_text(block)) == _content(source)
    return block if same else Block(source)


def _render(source: str) -> Block:
    placeholders = {}
    unused = (char for char in PLACEHOLDERS if char not in source)
    filler = next(unused)
    for begin, end in reversed(list(formulas.find(source))):
        # One for each formula, as long as it is, so that offsets stay right.
        formula = source[begin:end]
        placeholder = next(unused) + filler * (utf16_length(formula) - 1)
        placeholders[placeholder] = formula
        source = source[:begin] + placeholder + source[end:]
    for hidden in PROTECTED:
        placeholder = "".join(next(unused) for _ in hidden)
        placeholders[placeholder] = hidden
        source = source.replace(hidden, placeholder)

    def restore(text: str | None) -> str | None:
        for placeholder, hidden in placeholders.items():
            text = text and text.replace(placeholder, hidden)
        return text

    text, found = convert(source, latex_escape=False, config=CONFIG)
    entities = (
        Entity(
            e.type, e.offset, e.length, url=restore(e.url), language=restore(e.language)
        )
        for e in found
        if e.type in ENTITIES
    )
    valid = (each for each in entities if each.url is None or LINK.fullmatch(each.url))
    return Block(restore(text) or "", tuple(valid))


def _visible_text(block: Block) -> str:
    """Return the text with the URLs and languages of its entities inserted."""
    marks = [
        (each.offset, each.language)
        if each.language
        else (each.offset + each.length, each.url)
        for each in block.entities
        if each.language or each.url
    ]
    data = block.text.encode("utf-16-le")
    for offset, text in sorted(marks, key=lambda mark: mark[0], reverse=True):
        inserted = f" {text} ".encode("utf-16-le")
        data = data[: 2 * offset] + inserted + data[2 * offset :]
    return data.decode("utf-16-le")


def _content(text: str) -> list[str]:
    """Return the characters that must not be lost: no markup, numbering or space."""
    text = TASKS.sub(r"\1", NUMBERS.sub("", html.unescape(text)))
    return [char for char in text if not char.isspace() and char not in MARKUP]
