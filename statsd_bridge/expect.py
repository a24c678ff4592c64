r"""
Test a mapping file: lines, and what each must become.

    # orders.expect
    shop.fr.orders.paid:1|c => shop_orders_total{country="fr",state="paid"} 1
    shop.fr.cart:250|ms => shop_cart_seconds_count{country="fr"} 1
                        => shop_cart_seconds_sum{country="fr"} 0.25
    debug.x:1|c => dropped
    shop.fr.orders:x|c => refused malformed_value

The lines are processed in order by one new bridge, so counters add up.  An expectation
holds if it is one of the outcomes of its own line: a row of a series that the line was
added to, as the page prints it then, or a word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from statsd_bridge import syntax
from statsd_bridge.errors import ConfigError, escaped
from statsd_bridge.explain import Explanation, TrialStores, trace
from statsd_bridge.exposition.text import new_formatters
from statsd_bridge.line import Dialect
from statsd_bridge.mapping import MappingTable
from statsd_bridge.model import Action, ParseErrorReason, RejectionReason, SeriesSpec
from statsd_bridge.series import SeriesStore

MAX_FILE_BYTES = 1 << 20
"""Size of a file: about 20,000 expectations."""

MAX_LINE_LENGTH = 65_535
"""Characters of a line of the file; UDP cannot carry a longer statsd line."""

MAX_SEPARATORS = 100
"""Places of `=>` in a line that may be the one before the expectation."""

MAX_SHOWN_OUTCOMES = 5
"""Outcomes of a line that a failure shows."""

TOLERANCE = 1e-9
"""Relative difference of equal numbers: 0.1 + 0.2 is not quite 0.3."""

DROPPED, REFUSED, UNMAPPED = "dropped", "refused", "unmapped"

REASONS = frozenset(map(str, (*ParseErrorReason, *RejectionReason)))

FORM = (
    'write LINE => SERIES VALUE, such as a.b:1|c => a_b{c="d"} 1,'
    " or LINE => dropped, LINE => refused, LINE => unmapped"
)

_SEPARATOR = re.compile(r"(?:^|(?<=[ \t]))=>(?=[ \t]|$)")
_COMMENT = r"[ \t]*(?:[ \t]#.*)?"
_LABEL = r'[a-zA-Z_]\w*[ \t]*=[ \t]*"(?:[^"\\]|\\.)*"'
_LABELS = rf"\{{[ \t]*(?:{_LABEL}(?:[ \t]*,[ \t]*{_LABEL})*[ \t]*,?[ \t]*)?\}}"
_SERIES = re.compile(rf"([a-zA-Z_:][\w:]*)[ \t]*({_LABELS})?", re.ASCII)
_ROW = re.compile(rf"({_SERIES.pattern})[ \t]+([^ \t#]+){_COMMENT}", re.ASCII)
_WORDS = f"{DROPPED}|{REFUSED}|{UNMAPPED}"
_WORD = re.compile(rf"({_WORDS})(?:[ \t]+([^ \t#]+))?{_COMMENT}")
_PAIR = re.compile(r'(\w+)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"', re.ASCII)

Key = tuple[str, frozenset[tuple[str, str]]]
"""A name and its labels, values as escaped on the page: their order is irrelevant."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of a line, or is expected: the text and, of a row, its key and value.

    Of a word, such as `dropped`, the key is None.
    """

    text: str
    key: Key | None = None
    value: float = 0.0

    def allows(self, actual: Outcome) -> bool:
        """Return whether an outcome is the expected one."""
        if self.key is not None:
            return self.key == actual.key and _equal(self.value, actual.value)
        is_any_refusal = self.text == REFUSED and actual.text.startswith(f"{REFUSED} ")
        return actual.key is None and (self.text == actual.text or is_any_refusal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One line of the file; `line` is None if it is about the statsd line before it."""

    number: int
    line: bytes | None
    expected: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An expectation that does not hold, its statsd line, and all of its outcomes."""

    expectation: Expectation
    line: bytes
    outcomes: tuple[Outcome, ...]

    def nearest(self) -> tuple[Outcome, ...]:
        """Return the row with another value, if there is one, else all outcomes."""
        key = self.expectation.expected.key
        rows = tuple(each for each in self.outcomes if key and each.key == key)
        return rows or self.outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of a file."""

    file: str
    total: int
    failures: tuple[Failure, ...]


def read(file: str) -> list[Expectation]:
    """Read a file; raise ConfigError, with file and line, if it is refused."""
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"--expect: {file}: cannot be read: {reason}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"{file}: has more than 1 MiB; write several files")
    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    return parse(text, file)


def parse(text: str, file: str) -> list[Expectation]:
    """
    Parse the text of a file.

    Raises ConfigError for the first line that is wrong, and for a file without any: a
    test of nothing would pass.
    """
    found: list[Expectation] = []
    for number, row in enumerate(text.split("\n"), 1):
        stripped = row.strip(" \t\r")
        if not stripped or stripped.startswith("#"):
            continue
        try:
            line, expected = _parse_row(stripped)
            if line is None and not found:
                raise ValueError(f"there is no statsd line before the =>; {FORM}")
        except ValueError as error:
            raise ConfigError(f"{file}:{number}: {error}") from error
        found.append(Expectation(number=number, line=line, expected=expected))
    if not found:
        raise ConfigError(f"{file}: has no expectation; {FORM}")
    return found


def _parse_row(row: str) -> tuple[bytes | None, Outcome]:
    if len(row) > MAX_LINE_LENGTH:
        raise ValueError(f"the line has more than {MAX_LINE_LENGTH} characters")
    error = ValueError(f"{_shortened(row)} has no expectation; {FORM}")
    # A statsd line and a label value may have a => as well: the first one counts that
    # an expectation follows.
    for separator in islice(_SEPARATOR.finditer(row), MAX_SEPARATORS):
        try:
            expected = _parse_expected(row[separator.end() :].strip(" \t"))
        except ValueError as problem:
            error = problem
            continue
        line = row[: separator.start()].rstrip(" \t")
        return line.encode("utf-8", "surrogateescape") or None, expected
    raise error


def _parse_expected(text: str) -> Outcome:
    word = _WORD.fullmatch(text)
    if word and word[2] is None:
        return Outcome(word[1])
    is_refused = word is not None and word[1] == REFUSED
    if word and is_refused and word[2] in REASONS:
        return Outcome(f"{REFUSED} {word[2]}")
    row = _ROW.fullmatch(text)
    value = syntax.parse_float(row[4]) if row else None
    if row and value is not None:
        return Outcome(f"{row[1]} {row[4]}", _key(row[2], row[3]), value)
    if word and is_refused:
        known = ", ".join(sorted(REASONS))
        raise ValueError(f"{_shortened(word[2])} is not a reason; write one of {known}")
    if row:
        raise ValueError(f"{_shortened(row[4])} is not a number; {FORM}")
    raise ValueError(f"{_shortened(text)} is not an expectation; {FORM}")


def _key(name: str, labels: str | None) -> Key:
    return name, frozenset(_PAIR.findall(labels or ""))


def check(
    expectations: Sequence[Expectation],
    dialect: Dialect,
    table: MappingTable,
    store: SeriesStore,
) -> tuple[Failure, ...]:
    """Process the lines in order, and return the expectations that do not hold."""
    stores = TrialStores(store)
    failures: list[Failure] = []
    line, outcomes = b"", tuple[Outcome, ...]()
    for each in expectations:
        if each.line is not None:
            line = each.line
            outcomes = _outcomes(trace(line, dialect, table, stores), store)
        if not any(map(each.expected.allows, outcomes)):
            failures.append(Failure(expectation=each, line=line, outcomes=outcomes))
    return tuple(failures)


def _outcomes(explanation: Explanation, store: SeriesStore) -> tuple[Outcome, ...]:
    words: dict[str, None] = {}
    specs: dict[Any, SeriesSpec] = {}
    if explanation.parsed.dogstatsd:
        words[DROPPED] = None
    for error in explanation.parsed.errors:
        words[f"{REFUSED} {error.reason}"] = None
    for step in explanation.steps:
        if step.match.action is Action.UNMAPPED:
            words[UNMAPPED] = None
        if step.spec is None:
            words[DROPPED] = None
        elif step.rejected is not None:
            words[f"{REFUSED} {step.rejected}"] = None
        else:
            specs[step.spec.name, step.spec.labels] = step.spec
    rows = [row for spec in specs.values() for row in _rows(spec, store)]
    return (*rows, *map(Outcome, words))


def _rows(spec: SeriesSpec, store: SeriesStore) -> Iterator[Outcome]:
    """Yield the rows of a series, as the page prints them."""
    type_ = spec.options.type
    family, labels = store.by_name.get(spec.name), syntax.format_labels(spec.labels)
    series = None if family is None else family.find(labels)
    if family is None or series is None or family.type is not type_:
        return
    formatter = new_formatters(store.now(), syntax.escape_help)[type_]
    for row in formatter.format(spec.name, labels, series).split("\n")[:-1]:
        text, _, number = row.rpartition(" ")
        if match := _SERIES.fullmatch(text):
            value = syntax.parse_float(number)
            yield Outcome(row, _key(match[1], match[2]), value or 0.0)


def _equal(expected: float, actual: float) -> bool:
    is_nan = math.isnan(expected) and math.isnan(actual)
    return is_nan or math.isclose(expected, actual, rel_tol=TOLERANCE)


def as_text(report: Report) -> str:
    """Return one line for each failure; text from the file is escaped."""
    return "".join(
        f"{escaped(report.file)}:{each.expectation.number}:"
        f" expected {escaped(each.expectation.expected.text)},"
        f" came {_came(each.nearest())}\n"
        for each in report.failures
    )


def _came(outcomes: Sequence[Outcome]) -> str:
    shown = [escaped(each.text) for each in outcomes[:MAX_SHOWN_OUTCOMES]]
    omitted = len(outcomes) - len(shown)
    more = [f"{omitted} more"] if omitted else []
    return "; ".join(shown + more) or "nothing"


def as_json(report: Report) -> dict[str, Any]:
    """Return the result as an object for JSON."""
    return {
        "file": report.file,
        "expectations": report.total,
        "failures": [_failure_json(each) for each in report.failures],
    }


def _failure_json(failure: Failure) -> dict[str, Any]:
    came = [each.text for each in failure.nearest()]
    return {
        "line": failure.expectation.number,
        "input": syntax.decode_escaped(failure.line),
        "expected": failure.expectation.expected.text,
        "came": came[:MAX_SHOWN_OUTCOMES],
        "came_left_out": max(0, len(came) - MAX_SHOWN_OUTCOMES),
    }


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 100 else f"{text[:100]}...")
