"""Failed tests run once more: what fails again fails the build."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools import second_run

ROOT = Path(__file__).parents[2]
ONCE = """
def test_once():
    from pathlib import Path
    ran = Path("ran")
    was, _ = ran.exists(), ran.touch()
    assert was
"""
ALWAYS = "def test_always(): assert False\n"


@pytest.mark.parametrize(
    ("tests", "code", "end"),
    [
        (
            ONCE,
            0,
            "failed only beside others, to be mended:\n  test_it.py::test_once\n",
        ),
        (ONCE + ALWAYS, 1, "1 failed, 1 passed"),
    ],
)
def test_what_fails_again_fails(
    tests: str, code: int, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test that passes alone is named."""
    (tmp_path / "test_it.py").write_text(tests)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    for program in (["pytest", "--cache-clear"], ["tools.second_run"]):
        last = subprocess.run(
            [sys.executable, "-m", *program], capture_output=True, text=True
        )

    assert last.returncode == code
    assert end in last.stdout


@pytest.mark.parametrize("count", [0, second_run.MAX_TESTS + 1])
def test_none_and_too_many_fail(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are not run again."""
    record = tmp_path / "lastfailed"
    if count:
        record.write_text(
            json.dumps({f"test.py::test_{n}": True for n in range(count)})
        )

    assert second_run.main(record) == 1
    assert capsys.readouterr().out.startswith(f"not run again: {count} failed")
