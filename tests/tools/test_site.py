"""The site of the docs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, strictly: a dead link or a page without a way to it fails."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_in_the_site(site: Path) -> None:
    """So are the pages of the top folder, the first of them as the home page."""
    pages = [file.relative_to(ROOT / "docs") for file in ROOT.glob("docs/**/*.md")]
    built = [page.parent / page.stem.replace("README", "index") for page in pages]
    wanted = [*map(str, built), "index", "CONTRIBUTING", "SECURITY", "CHANGELOG"]

    assert [name for name in wanted if not (site / f"{name}.html").exists()] == []


def test_no_page_loads_from_another_host(site: Path) -> None:
    """Scripts, styles, fonts and pictures are in the site."""
    loaded = re.compile(
        r"<(?:script|img|iframe)[^>]*\ssrc=\"?https?:"
        r"|<link[^>]*rel=\"?(?:stylesheet|preload|preconnect|icon)[^>]*https?:"
    )

    assert [p for p in site.glob("**/*.html") if loaded.search(p.read_text())] == []
