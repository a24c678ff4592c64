"""What is said of a file is short, escaped and bounded."""

from __future__ import annotations

import pytest

from statsd_bridge.document import diagnostics as module
from statsd_bridge.document.diagnostics import Diagnostics, quote
from statsd_bridge.errors import ConfigError


@pytest.mark.parametrize(
    ("source", "shown"),
    [("a", "'a'"), ("a\nb\x1b", "'a\\nb\\x1b'"), ("x" * 61, f"'{'x' * 57}...'")],
)
def test_quote(source: str, shown: str) -> None:
    """Text from the file is shown short, escaped and on one line."""
    assert quote(source) == shown


def test_mistake() -> None:
    """A mistake tells the file, the key, the problem and the line."""
    remarks = Diagnostics("f.yml")

    assert str(remarks.mistake("a.b", 3, "is bad")) == "f.yml: a.b: is bad (line 3)"
    assert str(remarks.mistake("", 1, "is bad")) == "f.yml: is bad (line 1)"


def test_warnings_are_bounded() -> None:
    """Past a bound, warnings are only counted."""
    remarks = Diagnostics("f")
    for i in range(module.MAX_WARNINGS + 5):
        assert remarks.is_full() is (i >= module.MAX_WARNINGS)
        remarks.warn("k", i, "is odd")

    assert len(remarks.warnings()) == module.MAX_WARNINGS + 1
    assert remarks.warnings()[0] == "f: k: is odd (line 0)"
    assert remarks.warnings()[-1] == "f: and 5 more warnings"


def test_reads_are_bounded() -> None:
    """A file may not mean more than a bound of values."""
    remarks = Diagnostics("f")
    remarks.spend(module.MAX_READS)

    with pytest.raises(ConfigError, match="f: means more than 1000000 values"):
        remarks.spend(1)
