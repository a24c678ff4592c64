"""Invalid mapping files, named for what is wrong, and their errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from statsd_bridge import mapping
from statsd_bridge.errors import ConfigError

_FILES = Path(__file__).parent / "data" / "mapping"

# A line for each file: its name without suffix, the error.
ERRORS = dict(
    line.split(": ", 1) for line in (_FILES / "errors.txt").read_text().splitlines()
)


@pytest.mark.parametrize("name", sorted(path.stem for path in _FILES.glob("*.yml")))
def test_an_error_names_file_key_problem_and_line(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of one line names file, key, problem and line number."""
    monkeypatch.chdir(_FILES)

    with pytest.raises(ConfigError) as caught:
        mapping.load(f"{name}.yml", strict=name.startswith("strict-"))

    assert str(caught.value) == f"{name}.yml: {ERRORS[name]}"


def test_a_missing_file_is_an_error() -> None:
    """A missing file is an error."""
    with pytest.raises(ConfigError, match=r"^no\.yml: cannot be read: No such file"):
        mapping.load("no.yml")
