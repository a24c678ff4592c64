"""
Errors and warnings about one file, each with its place.

    mapping.yml: mappings[3].match: what is wrong; what would be right (line 12)
    file         path of the key    problem
"""

from __future__ import annotations

from typing import Final

from statsd_bridge.document.pace import NO_PACE, Pace
from statsd_bridge.errors import ConfigError

MAX_WARNINGS: Final = 100
MAX_READS: Final = 4_000_000
MAX_QUOTED_LENGTH: Final = 60


def quote(text: str) -> str:
    """Quote text from the file for a message: escaped, on one line, cut if long."""
    if len(text) > MAX_QUOTED_LENGTH:
        return repr(text[: MAX_QUOTED_LENGTH - 3] + "...")
    return repr(text)


class Diagnostics:
    """
    Errors and warnings about one file, and how much of it may be read.

    With `strict`, unknown keys are errors instead of warnings.
    """

    def __init__(
        self, file: str, *, strict: bool = False, pace: Pace = NO_PACE
    ) -> None:
        self.file = file
        self._pace = pace
        self.strict = strict
        self._warnings: list[str] = []
        self._omitted = 0
        self._reads = 0

    def error(self, path: str, line: int, problem: str) -> ConfigError:
        """Return the error for a problem at a key and a line."""
        return ConfigError(self._text(path, line, problem))

    def warn(self, path: str, line: int, problem: str) -> None:
        """Add a warning; past MAX_WARNINGS it is only counted."""
        if len(self._warnings) < MAX_WARNINGS:
            self._warnings.append(self._text(path, line, problem))
        else:
            self._omitted += 1

    def is_full(self) -> bool:
        """Return whether further warnings are only counted."""
        return len(self._warnings) >= MAX_WARNINGS

    def warnings(self) -> tuple[str, ...]:
        """Return the warnings; the last one counts the omitted ones."""
        if not self._omitted:
            return tuple(self._warnings)
        return (*self._warnings, f"{self.file}: and {self._omitted} more warnings")

    def charge(self, reads: int) -> None:
        """
        Count values that are read; ConfigError when there are too many.

        Aliases let a small file stand for a huge one, so reads are bounded, not bytes.
        """
        self._pace.step()
        self._reads += reads
        if self._reads > MAX_READS:
            problem = f"holds more than {MAX_READS} values with its aliases expanded"
            raise ConfigError(f"{self.file}: {problem}")

    def _text(self, path: str, line: int, problem: str) -> str:
        return f"{self.file}: {path + ': ' if path else ''}{problem} (line {line})"
