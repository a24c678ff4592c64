"""
Count lines of code: Python lines that are not blank, comment or docstring.

    python tools/count_lines.py [DIRECTORY ...]

A line counts if a token other than a comment begins or continues on it; docstrings
(the first statement of a module, class or function, and any other statement that is
only a string) do not count.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path

DIRECTORIES = ("crocbot", "statsd_bridge", "tests", "benchmarks", "tools")

_LAYOUT = frozenset(
    {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENCODING,
        tokenize.ENDMARKER,
    }
)


def count_lines(source: str) -> int:
    """Return the number of lines of code in a Python source text."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and _is_string(node.value):
            lines.difference_update(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(lines)


def count_directory(directory: Path) -> int:
    """Return the number of lines of code in all Python files below a directory."""
    return sum(count_lines(file.read_text()) for file in _python_files(directory))


def main(arguments: Sequence[str]) -> None:
    """Print one line a directory: its number of lines, then its name."""
    for name in arguments or DIRECTORIES:
        if Path(name).is_dir():
            print(f"{count_directory(Path(name)):7,}  {name}")


def _python_files(directory: Path) -> Iterator[Path]:
    return (file for file in sorted(directory.rglob("*.py")) if file.is_file())


def _is_string(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


if __name__ == "__main__":
    main(sys.argv[1:])
