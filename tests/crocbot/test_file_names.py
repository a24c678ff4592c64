"""Names of files on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot.file_names import safe_name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("report.pdf", "1-report.pdf"),
        ("../../etc/passwd", "1-etc_passwd"),
        ("a\0b.txt", "1-a_b.txt"),
        ("résumé.pdf", "1-resume.pdf"),
        ("отчёт.pdf", "1-file.pdf"),
        ("\u202efdp.exe", "1-fdp.exe"),
        (".bashrc", "1-file.bashrc"),
        ("-rf", "1-rf"),
        ("archive.tar.gz", "1-archive.tar.gz"),
        ("x" * 5000 + ".csv", f"1-{'x' * 60}.csv"),
        ("..", "1-file"),
        (None, "1-file.ogg"),
        ("voice", "1-voice.ogg"),
        ("", "1-file.ogg"),
    ],
)
def test_names(name: str | None, safe: str) -> None:
    """A name keeps its letters and its ending, and nothing else."""
    assert safe_name(1, name, ".ogg" if safe.endswith(".ogg") else "") == safe


@given(st.text(max_size=300))
def test_any_name(name: str) -> None:
    """Any name is one path component of printable ASCII, with a bounded length."""
    safe = safe_name(1, name)
    assert Path(safe).name == safe
    assert safe.isascii()
    assert safe.isprintable()
    assert len(safe) < 90
