"""The project's own checks: each finds what it is for, and the project passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools.lint import pages, structure, words
from tools.lint.problem import Problem

POSITIONAL = """
class Long:
    def __init__(self, a, b, c, d): ...
"""
KEYWORDS = """
class Long:
    def __init__(self, a, b, c, *, d): ...
"""
FIELDS = """
@dataclass(frozen=True)
class Long:
    a: int
    b: int
    c: int
    d: int
    e: int = field(init=False)
"""
KEYWORD_FIELDS = FIELDS.replace("frozen=True", "kw_only=True")
SENTINEL = FIELDS.replace("    d: int", "    _: KW_ONLY\n    d: int")
TUPLE = FIELDS.replace("@dataclass(frozen=True)", "").replace("Long:", "Long(Tuple):")


@pytest.mark.parametrize(
    ("check", "name", "text", "expected"),
    [
        (structure.check_length, "crocbot/a.py", "\n" * 400, []),
        (structure.check_length, "crocbot/a.py", "\n" * 401, ["401 lines are more"]),
        (structure.check_length, "tests/a.py", "\n" * 401, []),
        (structure.check_drawings, "c/__init__.py", '"b.py"', ["there is no b.py"]),
        (structure.check_drawings, "c/__init__.py", '"c/__init__.py"', []),
        (structure.check_constructors, "crocbot/a.py", POSITIONAL, ["Long takes 4"]),
        (structure.check_constructors, "crocbot/a.py", KEYWORDS, []),
        (structure.check_constructors, "crocbot/a.py", FIELDS, ["Long takes 4"]),
        (structure.check_constructors, "crocbot/a.py", KEYWORD_FIELDS, []),
        (structure.check_constructors, "crocbot/a.py", SENTINEL, []),
        (structure.check_constructors, "crocbot/a.py", TUPLE, []),
        (structure.check_bounds, "crocbot/a.py", "MOST_ROWS = 3", ["MOST_ROWS: bound"]),
        (structure.check_bounds, "crocbot/a.py", "MAX_ROWS = 3", []),
        (
            structure.check_test_docstrings,
            "tests/a.py",
            'def test_a(): ...\ndef test_b(): "It is."\ndef fake(): ...',
            ["test_a has no docstring"],
        ),
        (
            pages.check_links,
            "a.md",
            "# A B\n[a](#a-b) [b](b.md)",
            ["link to b"],
        ),
        (pages.check_links, "a.md", "[a](a.md#three)", ["link to a.md#three: there"]),
        (pages.check_links, "a.md", "[a](https://b.md)\n```\n[b](b.md)\n```\n", []),
        (words.check_words, "a.md", "A limit of ours.", ['"of ours": name']),
        (words.check_words, "a.py", "# As there.", ['"As there": like statsd']),
        (words.check_words, "a.py", 'A = "as there"', []),
        (words.check_words, "a.md", "It logs `nobody polls`.", []),
        (words.check_words, "CHANGELOG.md", "As there.", []),
    ],
)
def test_a_check_finds_its_problem(
    check: Callable[[], Iterator[Problem]],
    name: str,
    text: str,
    expected: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It reports what is wrong in a file and nothing of a file that is right."""
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    monkeypatch.setattr("tools.lint.problem.ROOT", tmp_path)
    for module in (pages, structure, words):
        monkeypatch.setattr(module, "project_files", lambda *_: [file])

    found = [problem.text for problem in check()]

    assert len(found) == len(expected)
    assert all(
        text.startswith(start) for text, start in zip(found, expected, strict=True)
    )


def test_prose_is_docstrings_and_comments() -> None:
    """Code and other strings are not prose; each part comes with its first line."""
    source = '"""Module."""\nA = "text"\ndef f():\n    """One\n    two."""  # Three.\n'

    assert sorted(words.python_prose(source)) == [
        (1, "Module."),
        (4, "One\n    two."),
        (5, "# Three."),
    ]


ARCHITECTURE = """
| crocbot | |
|---|---|
| `model.py` `old/` | nouns, and `nothing.md` |

| statsd_bridge | |
|---|---|
| `line.py` | grammar |

"""


def test_the_code_map_is_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that is missing in a table is found, and one that does not exist."""
    page = tmp_path / "architecture.md"
    page.write_text(ARCHITECTURE)
    files = ["crocbot/model.py", "crocbot/agents/__init__.py", "statsd_bridge/line.py"]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "ARCHITECTURE", page)
    paths = [tmp_path / name for name in files]
    monkeypatch.setattr(pages, "project_files", lambda *_: paths)

    assert [problem.text for problem in pages.check_code_map()] == [
        "crocbot/agents/ is not in the table",
        "there is no crocbot/old/",
    ]
    assert [problem.text for problem in pages.check_named_files()] == [
        "there is no old/",
        "there is no nothing.md",
    ]


def test_named_tests_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that does not exist is found, and a numbered row without one."""
    page = tmp_path / "compatibility.md"
    page.write_text("| 1 | `a/test_x.py::test_x` `a/test_x.py::test_y` |\n| W2 | - |\n")
    file = tmp_path / "tests" / "a" / "test_x.py"
    file.parent.mkdir(parents=True)
    file.write_text("async def test_x() -> None: ...\n")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "project_files", lambda *_: [page])

    assert [problem.text for problem in pages.check_named_tests()] == [
        "there is no a/test_x.py::test_y",
        "the row names no test",
    ]


def test_the_paths_have_few_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that is too long, that has a file twice, or is missing is found."""
    page = tmp_path / "architecture.md"
    files = "".join(f"{n}. `{name}`: text\n" for n, name in enumerate("abb", 1))
    page.write_text(f"From the poll to the datagram:\n\n{files}\nText.\n")
    monkeypatch.setattr(pages, "ARCHITECTURE", page)
    limits = {"From the poll ": 2, "From the socket ": 9}
    monkeypatch.setattr(pages, "MAX_PATH_FILES", limits)

    assert [problem.text for problem in pages.check_paths()] == [
        "3 files, more than 2",
        "b is in the list twice",
        "there is no list 'From the socket'",
    ]
