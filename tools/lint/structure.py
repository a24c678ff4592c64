"""Python files: their length, constructors, names of bounds, docstrings of tests."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import takewhile

from tools.lint.problem import PACKAGES, Problem, project_files, within

MAX_FILE_LINES = 400
"""CONTRIBUTING.md has the number, too."""
MAX_POSITIONAL = 3
_WORDS = "MOST|LONGEST|LARGEST|ENOUGH|FEW|MANY|QUICK|KEEP|PIECE|ROUNDS"
BOUND = re.compile(rf"^_?(?:{_WORDS})(?:_|$)|_(?:{_WORDS})$")


def check_length() -> Iterator[Problem]:
    """Check that no file is too long; test files follow their module and may be."""
    for file in project_files("*.py"):
        lines = file.read_bytes().count(b"\n")
        if lines > MAX_FILE_LINES and not within(file, ["tests"]):
            text = f"{lines} lines are more than {MAX_FILE_LINES}"
            yield Problem(file, MAX_FILE_LINES + 1, text)


def check_drawings() -> Iterator[Problem]:
    """Check that each file that the docstring of a package names is in it or beside."""
    for file in project_files("*/__init__.py"):
        text = ast.get_docstring(ast.parse(file.read_text())) or ""
        for name in re.findall(r"[\w/]+\.py\b", text):
            if not any((folder / name).exists() for folder in file.parents[:2]):
                yield Problem(file, 1, f"there is no {name}")


def check_constructors() -> Iterator[Problem]:
    """
    Check that constructors take more than three arguments by keyword only.

    A NamedTuple is made on the hot path, where keywords cost time, and may differ.
    """
    for file in project_files("*.py"):
        if not within(file, PACKAGES):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef) and (count := _positional(node)):
                text = f"{node.name} takes {count} arguments by position: use keywords"
                yield Problem(file, node.lineno, text)


def _positional(node: ast.ClassDef) -> int:
    """Return how many arguments a constructor takes by position, 0 if not too many."""
    count = 0
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            arguments = statement.args
            count = len(arguments.posonlyargs) + len(arguments.args) - 1
    for decorator in node.decorator_list:
        text = ast.unparse(decorator)
        if text.startswith("dataclass") and "kw_only=True" not in text:
            positional = takewhile(_is_before_keywords, node.body)
            count = sum(map(_is_field, positional))
    return count if count > MAX_POSITIONAL else 0


def _is_before_keywords(statement: ast.stmt) -> bool:
    return "KW_ONLY" not in ast.unparse(statement)


def _is_field(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.AnnAssign):
        return False
    text = ast.unparse(statement)
    keyword = any(word in text for word in ("init=False", "kw_only=True", "ClassVar"))
    return not keyword


def check_bounds() -> Iterator[Problem]:
    """Check that bounds are named MAX_*, MIN_*, or by their unit."""
    for file in project_files("*.py"):
        if within(file, ["tests"]):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, (ast.Assign, ast.AnnAssign)):
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name) and BOUND.search(target.id):
                    text = f"{target.id}: bounds are MAX_*, MIN_*, *_SECONDS, *_BYTES"
                    yield Problem(file, node.lineno, text)


def check_test_docstrings() -> Iterator[Problem]:
    """Check that each test says in a docstring what is true when it passes."""
    for file in project_files("tests/*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            if node.name.startswith("test_") and ast.get_docstring(node) is None:
                yield Problem(file, node.lineno, f"{node.name} has no docstring")
