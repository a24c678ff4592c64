"""Errors and warnings about a file are short, escaped and bounded."""

from __future__ import annotations

import pytest

from statsd_bridge.document import diagnostics as module
from statsd_bridge.document.diagnostics import Diagnostics, quote
from statsd_bridge.errors import ConfigError


@pytest.mark.parametrize(
    ("source", "shown"),
    [("a", "'a'"), ("a\nb\x1b", "'a\\nb\\x1b'"), ("x" * 61, f"'{'x' * 57}...'")],
)
def test_quoted_text_is_short_escaped_and_on_one_line(source: str, shown: str) -> None:
    """Text from the file is quoted short, escaped and on one line."""
    assert quote(source) == shown


def test_an_error_names_file_key_problem_and_line() -> None:
    """An error names the file, the key, the problem and the line."""
    diagnostics = Diagnostics("f.yml")

    assert str(diagnostics.error("a.b", 3, "is bad")) == "f.yml: a.b: is bad (line 3)"
    assert str(diagnostics.error("", 1, "is bad")) == "f.yml: is bad (line 1)"


def test_warnings_are_bounded() -> None:
    """Past MAX_WARNINGS, warnings are only counted."""
    diagnostics = Diagnostics("f")
    for i in range(module.MAX_WARNINGS + 5):
        assert diagnostics.is_full() is (i >= module.MAX_WARNINGS)
        diagnostics.warn("k", i, "is odd")

    assert len(diagnostics.warnings()) == module.MAX_WARNINGS + 1
    assert diagnostics.warnings()[0] == "f: k: is odd (line 0)"
    assert diagnostics.warnings()[-1] == "f: and 5 more warnings"


def test_reads_are_bounded() -> None:
    """A file whose aliases stand for too many values is refused."""
    diagnostics = Diagnostics("f")
    diagnostics.charge(module.MAX_READS)

    with pytest.raises(ConfigError, match="f: holds more than 4000000 values with"):
        diagnostics.charge(1)
