"""Phrases that say less than the name of the thing: pages, docstrings, comments."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator

from tools.lint.problem import Problem, line_of, project_files

PHRASES = {
    r"of (?:ours|theirs)": "name the thing",
    r"as there|like there": "like statsd_exporter",
    r"who(?:so)?ever": "name the person or the program",
    r"(?:some|any|every|no)body(?:'s)?": "name the person or the program",
    r"so many": "n, or name the number",
    r"for a moment|a moment": "give the time",
    r"put off": "deferred, buffered",
    r"as it comes": "by default",
    r"in earnest": "in production",
    r"lets? .{1,20} know": "report, log, return",
}
PATTERN = re.compile(
    "|".join(rf"(?P<p{n}>\b{phrase}\b)" for n, phrase in enumerate(PHRASES)), re.I
)
# The changelog is history.
HISTORY = ("CHANGELOG.md",)


def check_words() -> Iterator[Problem]:
    """Check pages, and the docstrings and comments of Python files."""
    for file in project_files("*.md", "*.py"):
        if file.name in HISTORY or "docs/adr" in file.as_posix():
            continue
        text = file.read_text()
        prose = page_prose(text) if file.suffix == ".md" else python_prose(text)
        for first_line, part in prose:
            for offset, message in find_phrases(part):
                yield Problem(file, first_line + line_of(part, offset) - 1, message)


def find_phrases(text: str) -> Iterator[tuple[int, str]]:
    """Yield the offset of each phrase in a text, and what to write instead."""
    advice = list(PHRASES.values())
    for match in PATTERN.finditer(text):
        index = int(str(match.lastgroup)[1:])
        yield match.start(), f'"{match[0]}": {advice[index]}'


def page_prose(page: str) -> Iterator[tuple[int, str]]:
    """Yield each line of a page without its inline code, which quotes programs."""
    for number, line in enumerate(page.splitlines(), 1):
        yield number, re.sub(r"`[^`]*`", "``", line)


def python_prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield each docstring and comment of a Python source, with its first line."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.lineno, node.value.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
