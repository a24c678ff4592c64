"""
The quota file: how many series metric names may have.

    quotas:
    - {match: api_*, max_series: 1000}     a glob over the mapped name: * and ?
    - {match: "*", max_series: 50}         for all other names

The first entry that matches a name decides; a name that none matches has the quota of
`--statsd.max-series-per-name`.  `max_series: 0` is no quota.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from statsd_bridge.document import compose, read_file
from statsd_bridge.document.diagnostics import Diagnostics, quote
from statsd_bridge.document.node import dismantle
from statsd_bridge.document.pace import NO_PACE, Pace
from statsd_bridge.document.section import MAX_UINT32, Section, non_null
from statsd_bridge.errors import ConfigError
from statsd_bridge.series import Quota

MAX_FILE_BYTES: Final = 1024 * 1024
MAX_QUOTAS: Final = 1_000
MAX_PATTERNS: Final = 100
"""Entries with a wildcard that is not at the end."""

MAX_MATCH_LENGTH: Final = 256

_GLOB = re.compile(r"[a-zA-Z0-9_*?]+")
_WILDCARD = re.compile(r"[*?]")


class _Entry(NamedTuple):
    """An entry of the file, whose glob begins with some literal text."""

    place: int
    quota: Quota
    pattern: re.Pattern[str] | None
    """None for all names that begin with that text."""


class QuotaTable:
    """
    The entries of a quota file, and the quota of all other names.

    Entries are found by the text before their first wildcard.  Those that also have one
    before their end are tried one after the other, so there may be only a few of them:
    to find a quota takes 0.3 us with one entry, and 15 with a thousand (timeit).
    """

    def __init__(
        self,
        entries: Sequence[tuple[str, int]] = (),
        *,
        default: int = 0,
        digest: bytes = b"",
        pace: Pace = NO_PACE,
    ) -> None:
        self.digest = digest
        """That of the text of the file."""
        self._default = _quota(default)
        self._quotas = [_quota(max_series) for _, max_series in entries]
        self._exact: dict[str, _Entry] = {}
        self._by_prefix: dict[str, list[_Entry]] = {}
        for index, (match, _) in enumerate(entries):
            pace.step()
            self._add(match, index)
        self._lengths = sorted({len(prefix) for prefix in self._by_prefix})

    def __len__(self) -> int:
        """Return the number of entries of the file."""
        return len(self._quotas)

    def find(self, name: str) -> Quota:
        """Return the quota of a metric name: of the first entry that matches it."""
        found = self._exact.get(name)
        for length in self._lengths:
            if length > len(name):
                break
            for entry in self._by_prefix.get(name[:length], ()):
                if found and found.place < entry.place:
                    break
                if entry.pattern is None or entry.pattern.match(name):
                    found = entry
                    break
        return found.quota if found else self._default

    def withdraw(self) -> None:
        """Withdraw each quota, since other ones take their place."""
        for quota in (self._default, *self._quotas):
            quota.withdraw()

    def _add(self, match: str, index: int) -> None:
        prefix, quota = _prefix(match), self._quotas[index]
        if prefix == match:
            self._exact.setdefault(match, _Entry(index, quota, None))
            return
        pattern = None
        if _is_pattern(match):
            # It takes no exponential time, whatever the glob.
            pattern = re.compile(fnmatch.translate(match))
        entry = _Entry(index, quota, pattern)
        self._by_prefix.setdefault(prefix, []).append(entry)


def load(
    path: str,
    *,
    default: int = 0,
    current: QuotaTable | None = None,
    pace: Pace = NO_PACE,
) -> QuotaTable:
    """
    Read a quota file, or none if `path` is empty; ConfigError if it is invalid.

    `default` is the quota of names that no entry matches, 0 for none.  Return
    `current`, which has the same default, if the file has not changed since.
    """
    text = _read_file(path) if path else b""
    digest = hashlib.sha256(text).digest()
    if current is not None and current.digest == digest:
        return current
    entries = parse(text, path, pace=pace)
    return QuotaTable(entries, default=default, digest=digest, pace=pace)


def parse(
    text: str | bytes, file: str, *, pace: Pace = NO_PACE
) -> Sequence[tuple[str, int]]:
    """Parse the text of a quota file into globs and limits; messages name `file`."""
    # Strict: a mistyped key must not lift a quota.
    diagnostics = Diagnostics(file, strict=True, pace=pace)
    root = compose(text, file, pace=pace) if text else None
    try:
        section = Section(diagnostics, "", non_null(root))
        entries = section.sections("quotas") or []
        section.reject_unknown_keys()
        if len(entries) > MAX_QUOTAS:
            problem = f"has {len(entries)} entries, more than {MAX_QUOTAS}"
            raise section.error("quotas", problem)
        found = [_read_entry(entry) for entry in entries]
        if sum(_is_pattern(match) for match, _ in found) > MAX_PATTERNS:
            problem = (
                f"more than {MAX_PATTERNS} entries have a wildcard that is not the"
            )
            raise section.error("quotas", f"{problem} last character")
        return found
    finally:
        dismantle(root, pace)


def _read_entry(section: Section) -> tuple[str, int]:
    match, number = section.text("match"), section.number("max_series")
    section.reject_unknown_keys()
    if not match:
        raise section.error("match", "is missing; write a metric name, such as api_*")
    if not _GLOB.fullmatch(match):
        problem = "write letters, digits, _, * and ?, as in a mapped name: api_*"
        raise section.error("match", f"{quote(match)} matches no name; {problem}")
    if len(match) > MAX_MATCH_LENGTH:
        raise section.error("match", f"is longer than {MAX_MATCH_LENGTH} characters")
    if number is None:
        raise section.error("max_series", "is missing; write 0 for no quota")
    # NaN is in no range.
    if not 0 <= number <= MAX_UINT32 or number != int(number):
        problem = f"is not a whole number from 0 to {MAX_UINT32}"
        raise section.error("max_series", f"{number:g} {problem}")
    return match, int(number)


def _quota(max_series: int) -> Quota:
    return Quota(max_series) if max_series else Quota()


def _prefix(match: str) -> str:
    """Return the text before the first wildcard."""
    return _WILDCARD.split(match, maxsplit=1)[0]


def _is_pattern(match: str) -> bool:
    """Return whether a glob has a wildcard besides stars at its end."""
    return match.rstrip("*") != _prefix(match)


def _read_file(path: str) -> bytes:
    text = read_file(path)
    if len(text) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: is larger than {MAX_FILE_BYTES} bytes")
    return text
