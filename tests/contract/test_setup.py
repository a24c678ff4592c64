"""The build without a compiler that works: the package is plain Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "failure", ["raise SystemExit('error: types')", "raise ValueError('no')"]
)
@pytest.mark.parametrize(("wanted", "is_built"), [("", True), ("yes", False)])
def test_mypyc_may_fail_unless_it_is_required(
    tmp_path: Path, failure: str, wanted: str, is_built: bool
) -> None:
    """Another release of mypyc may refuse types that this one accepts."""
    package = tmp_path / "mypyc"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "build.py").write_text(f"def mypycify(*_, **__):\n    {failure}\n")
    compiler = tmp_path / "cc"
    compiler.touch(mode=0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    build = subprocess.run(
        [sys.executable, "setup.py", "build_ext", f"--build-lib={tmp_path / 'lib'}"],
        cwd=ROOT,
        env={"PATH": path, "PYTHONPATH": str(tmp_path), "CROCBOT_COMPILE": wanted},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (build.returncode == 0) is is_built, build.stderr
