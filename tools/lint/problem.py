"""The problem that a check reports, and the files that checks read."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = ("crocbot", "statsd_bridge")


class Problem(NamedTuple):
    """What is wrong at a line of a file."""

    file: Path
    line: int
    text: str

    def __str__(self) -> str:
        name = self.file.relative_to(ROOT) if self.file.is_absolute() else self.file
        return f"{name}:{self.line}: {self.text}"


def project_files(*patterns: str) -> list[Path]:
    """Return the files of the repository that match, ignored ones left out."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(
        [*command, "--", *patterns], cwd=ROOT, stdout=subprocess.PIPE, check=True
    ).stdout.decode()
    files = (ROOT / name for name in sorted(names.split("\0")) if name)
    return [file for file in files if file.is_file()]


def line_of(text: str, offset: int) -> int:
    """Return the number of the line at an offset, counted from 1."""
    return text.count("\n", 0, offset) + 1


def within(file: Path, folders: Iterable[str]) -> bool:
    """Return whether a file is in one of the top folders of the repository."""
    return file.relative_to(ROOT).parts[0] in folders
