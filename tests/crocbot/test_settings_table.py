"""The table of settings: complete, and fresh."""

from __future__ import annotations

from pathlib import Path

import pytest

from crocbot.generated import END, begin
from crocbot.settings import table
from crocbot.settings.fields import NAMES, SECRETS, Settings

BEGIN = begin(table.MODULE)


def test_the_page_is_fresh() -> None:
    """docs/settings.md is what `make docs` writes."""
    assert table.main(["--check"]) == 0


def test_every_setting_is_explained() -> None:
    """Each setting has a row, a meaning and what is right; secrets have a file."""
    rows = table.table()

    for name, field in NAMES.items():
        info = Settings.model_fields[field]
        assert info.title
        assert info.description
        assert f"| `{name}`" in rows
    assert [name for name in SECRETS if f"`{name}_FILE`" not in rows] == []


def test_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stale page is told of or written anew, one without the marks is refused."""
    page = tmp_path / "settings.md"
    page.write_text(f"# Title\n{BEGIN}\nold\n{END}\nThe end.\n")
    monkeypatch.setattr(table, "PAGE", page)

    assert table.main(["--check"]) == 1
    assert "old" in page.read_text()
    assert table.main([]) == 0
    assert table.main(["--check"]) == 0
    assert page.read_text().endswith(f"{END}\nThe end.\n")
    page.write_text("no marks")
    assert table.main([]) == 2
