"""
What there is to say about a file: mistakes, which end it, and warnings.

    mapping.yml: mappings[3].match: what is wrong; what would be right (line 12)
    file         path of the key    problem
"""

from __future__ import annotations

from typing import Final

from statsd_bridge.errors import ConfigError

MAX_WARNINGS: Final = 100
MAX_READS: Final = 1_000_000
MAX_SHOWN: Final = 60


def quote(text: str) -> str:
    """Show text from the file within a message: short, on one line, escaped."""
    return repr(text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "...")


class Diagnostics:
    """What there is to say about one file; `strict` makes unknown keys mistakes."""

    def __init__(self, file: str, *, strict: bool = False) -> None:
        self.file = file
        self.strict = strict
        self._warnings: list[str] = []
        self._unsaid = 0
        self._reads = 0

    def mistake(self, path: str, line: int, problem: str) -> ConfigError:
        """Make the error that tells where the file is wrong, and how."""
        return ConfigError(self._text(path, line, problem))

    def warn(self, path: str, line: int, problem: str) -> None:
        """Note something that is allowed and hardly meant."""
        if len(self._warnings) < MAX_WARNINGS:
            self._warnings.append(self._text(path, line, problem))
        else:
            self._unsaid += 1

    def is_full(self) -> bool:
        """Tell whether further warnings are only counted."""
        return len(self._warnings) >= MAX_WARNINGS

    def warnings(self) -> tuple[str, ...]:
        """Return what was noted, bounded."""
        if not self._unsaid:
            return tuple(self._warnings)
        return (*self._warnings, f"{self.file}: and {self._unsaid} more warnings")

    def spend(self, reads: int) -> None:
        """Count what is read: aliases can make a small file mean a huge one."""
        self._reads += reads
        if self._reads > MAX_READS:
            problem = (
                f"means more than {MAX_READS} values once its aliases are followed"
            )
            raise ConfigError(f"{self.file}: {problem}")

    def _text(self, path: str, line: int, problem: str) -> str:
        return f"{self.file}: {path + ': ' if path else ''}{problem} (line {line})"
