"""Markdown pages: their links, and the parts and files that architecture.md names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tools.lint.problem import PACKAGES, ROOT, Problem, line_of, project_files

ARCHITECTURE = ROOT / "docs" / "architecture.md"
MAX_PATH_FILES = {"From the readable UDP socket ": 25, "From the poll ": 28}
"""Files of the paths in architecture.md, by the beginning of the sentence before."""
# Every package has these; the map of a package shows what is particular to it.
UNLISTED = {"__init__.py", "__main__.py", "cli.py", "cli/", "service.py", "service/"}


def check_links() -> Iterator[Problem]:
    """Check that each link leads to a file of the repository and a heading in it."""
    for page in project_files("*.md"):
        text = _without_examples(page.read_text())
        for match in re.finditer(r"\]\(([^)\s]+)\)", text):
            link = match[1]
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            line = line_of(text, match.start())
            if not target.exists():
                yield Problem(page, line, f"link to {link}: there is no such file")
            elif anchor and anchor not in _anchors(target):
                yield Problem(page, line, f"link to {link}: there is no such heading")


def _without_examples(text: str) -> str:
    """Return a page with blank lines in place of its code blocks."""
    return re.sub(
        r"^```.*?^```", lambda m: "\n" * m[0].count("\n"), text, flags=re.M | re.S
    )


@cache
def _anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", _without_examples(page.read_text()), re.M)
    return {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }


def check_code_map() -> Iterator[Problem]:
    """Check that the tables of architecture.md have each part of a package once."""
    text = ARCHITECTURE.read_text()
    for package in PACKAGES:
        table = re.search(rf"^\| {package} \| \|\n(.*?)\n\n", text, re.M | re.S)
        if table is None:
            yield Problem(ARCHITECTURE, 1, f"there is no table of {package}")
            continue
        line = line_of(text, table.start())
        rows = table[1].splitlines()
        listed = {name for row in rows for name in _names(row.split("|")[1])}
        parts = _parts(ROOT / package)
        for name in sorted(parts - listed):
            yield Problem(ARCHITECTURE, line, f"{package}/{name} is not in the table")
        for name in sorted(listed - parts - UNLISTED):
            yield Problem(ARCHITECTURE, line, f"there is no {package}/{name}")


def _names(text: str) -> Iterator[str]:
    """Yield the files and folders that a text has in backticks."""
    yield from re.findall(r"`([\w.*/-]+(?:\.(?:py|md|yml|cfg|toml)|/))`", text)


def _parts(package: Path) -> set[str]:
    files = {file.name for file in package.glob("*.py")}
    folders = {f"{file.parent.name}/" for file in package.glob("*/__init__.py")}
    return (files | folders) - UNLISTED


def check_paths() -> Iterator[Problem]:
    """Check that the lists of both paths have each file once, and not too many."""
    text = ARCHITECTURE.read_text()
    for start, most in MAX_PATH_FILES.items():
        found = re.search(rf"^{start}.*\n\n((?:\d+\. .*\n)*)", text, re.M)
        if found is None:
            yield Problem(ARCHITECTURE, 1, f"there is no list {start.strip()!r}")
            continue
        files = re.findall(r"^\d+\. `(.*?)`", found[1], re.M)
        line = line_of(text, found.start())
        if len(files) > most:
            yield Problem(ARCHITECTURE, line, f"{len(files)} files, more than {most}")
        for name in sorted({name for name in files if files.count(name) > 1}):
            yield Problem(ARCHITECTURE, line, f"{name} is in the list twice")


def check_named_files() -> Iterator[Problem]:
    """Check that each file that architecture.md names exists somewhere."""
    files = project_files(".")
    known = {*files, *(folder for file in files for folder in file.parents)}
    text = ARCHITECTURE.read_text()
    for number, row in enumerate(text.splitlines(), 1):
        for name in _names(row):
            if not any(path.match(name) for path in known):
                yield Problem(ARCHITECTURE, number, f"there is no {name}")


def check_named_tests() -> Iterator[Problem]:
    """Check that each test that a page names exists; each difference names one."""
    for page in project_files("*.md"):
        for number, row in enumerate(page.read_text().splitlines(), 1):
            named = re.findall(r"`(?:tests/)?([\w/]+/test_\w+\.py)::(\w+)`", row)
            is_difference = re.match(r"\| W?\d+ \|", row)
            if is_difference and not named and page.name == "compatibility.md":
                yield Problem(page, number, "the row names no test")
            for file, name in named:
                if not _has_test(ROOT / "tests" / file, name):
                    yield Problem(page, number, f"there is no {file}::{name}")


def _has_test(file: Path, name: str) -> bool:
    found = rf"^(?:async )?def {name}\("
    return file.exists() and bool(re.search(found, file.read_text(), re.M))
