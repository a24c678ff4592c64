"""
Parse one statsd line into samples and errors.

    api.hits,route=login:3|c|@0.1|#zone:eu|c:1f3a
    ^        ^           ^ ^ ^    ^        ^
    name     name tags   | | rate tags     container id
                     value type

- A line may carry several samples: `name:1|c:2|ms`, or, for timers only, several values
  before the type: `name:1:2:3|ms`.
- Parsing never raises and never stops early: a line may yield both samples and errors.
- The grammar, the reasons of errors and what they count are those of statsd_exporter
  0.30.0.  A comment marks each intended difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from statsd_bridge import syntax
from statsd_bridge.dialect import DEFAULT_DIALECT, Dialect, parse_name, parse_tags
from statsd_bridge.model import (
    Labels,
    Parsed,
    ParseError,
    ParseErrorReason,
    Sample,
    SampleType,
)

__all__ = [
    "DEFAULT_DIALECT",
    "DOGSTATSD_MESSAGES",
    "MAX_COMPONENTS",
    "MAX_OBSERVATIONS",
    "SAMPLE_TYPES",
    "Dialect",
    "divide_line",
    "parse_line",
    "parse_name",
]

SAMPLE_TYPES = {
    "c": SampleType.COUNTER,
    "g": SampleType.GAUGE,
    "ms": SampleType.OBSERVER,
    "h": SampleType.OBSERVER,
    "d": SampleType.OBSERVER,
    "s": SampleType.SET,
}
# Types that may have several values: DogStatsD's extended aggregation.
EXTENDED_AGGREGATES = frozenset({"ms", "h", "d"})

DOGSTATSD_MESSAGES = ("_e{", "_sc|")
"""How events and service checks of DogStatsD begin."""

# value, type, and one section of each kind: rate, tags, container, time, e:, card:
MAX_COMPONENTS = 8

# From here on, int(1/rate) of statsd_exporter overflows and it drops the sample.
MAX_OBSERVATIONS = 2.0**63

# Characters of an error's detail, besides the value.
MAX_DETAIL_LENGTH = 1_024

# In a line with tags in its name: samples without a container id, and with one.
MAX_LABEL_SETS = 2


def parse_line(line: bytes, dialect: Dialect = DEFAULT_DIALECT) -> Parsed:
    """Parse one line, any bytes without the newline."""
    # A difference: statsd_exporter drops a carriage return over TCP only.
    raw = line[:-1] if line.endswith(b"\r") else line
    if not raw:
        return Parsed()
    try:
        decoded = raw.decode()
    except UnicodeDecodeError:
        return _line_error(ParseErrorReason.MALFORMED_LINE, syntax.decode_escaped(raw))
    if dialect.dogstatsd and decoded.startswith(DOGSTATSD_MESSAGES):
        return Parsed(dogstatsd="event" if decoded[1] == "e" else "service_check")
    left, colon, right = decoded.partition(":")
    if not colon or not left:
        return _line_error(ParseErrorReason.MALFORMED_LINE, decoded)
    return _LineParser(decoded, left, dialect).parse(right)


def divide_line(
    line: bytes, dialect: Dialect, places: Mapping[SampleType, int]
) -> tuple[dict[int, bytes], Sequence[ParseError]]:
    """
    Divide a line with samples of several types into one line for each place.

        a:1|c:2|g:3|c   ->   a:1|c:3|c   a:2|g

    Samples of types with one place keep their order: the first one may own the name.
    Return also the errors of samples that are in none of these lines.
    """
    decoded = line.removesuffix(b"\r").decode()
    left, _, right = decoded.partition(":")
    parser = _LineParser(decoded, left, dialect)
    texts, errors = parser.divide(right, places)
    lines = {place: ":".join([left, *each]) for place, each in texts.items()}
    return {place: each.encode() for place, each in lines.items()}, errors


def _line_error(reason: ParseErrorReason, detail: str, tag_errors: int = 0) -> Parsed:
    return Parsed(errors=(ParseError(reason, detail),), tag_errors=tag_errors)


class _Suffix(NamedTuple):
    """What follows the value of a sample: type, rates and tags."""

    type_text: str
    labels: Labels = ()
    rates: Sequence[float] = ()
    tag_errors: int = 0
    bad_rates: int = 0
    too_many: bool = False
    """Whether the sample has more than MAX_COMPONENTS."""
    error: ParseErrorReason | None = None
    """Of the first bad section."""


_NO_SUFFIX = _Suffix("")


class _LineParser:
    """
    The state of parsing one line, whose `name` may have tags.

    A suffix that samples share is parsed once: the work for a line with thousands of
    values and thousands of tags is their sum, not their product.
    """

    def __init__(self, line: str, name: str, dialect: Dialect) -> None:
        self.line = line
        self.dialect = dialect
        self.name, self.name_tags, self.tag_errors = parse_name(name, dialect)
        self.samples: list[Sample] = []
        self.errors: list[ParseError] = []
        self.attempted = 0
        self.tagged = 0
        # The text after the last value, and its parsed form.
        self.last_suffix: tuple[str | None, _Suffix] = (None, _NO_SUFFIX)
        # The tags of samples, each with the labels that they form with the name's tags.
        self.label_sets: tuple[tuple[dict[str, str], Labels], ...] = ()

    def parse(self, right: str) -> Parsed:
        """Parse all samples: what follows the first colon."""
        has_dogstatsd_tags = "|#" in right
        if has_dogstatsd_tags and self.name_tags:
            return self._line_error(ParseErrorReason.MIXED_TAGGING_STYLES)
        if "|" not in right:
            return self._line_error(ParseErrorReason.NOT_ENOUGH_PARTS)
        values, _, suffix = right.partition("|")
        if ":" in values:
            if suffix.partition("|")[0] not in EXTENDED_AGGREGATES:
                return self._line_error(ParseErrorReason.INVALID_EXTENDED_AGGREGATE)
            for value in values.split(":"):
                self._add_sample(value, suffix)
        else:
            for sample in [right] if has_dogstatsd_tags else _split_samples(right):
                value, bar, suffix = sample.partition("|")
                self._add_sample(value, suffix if bar else None)
        return Parsed(
            self.samples, self.errors, self.attempted, self.tagged, self.tag_errors
        )

    def divide(
        self, right: str, places: Mapping[SampleType, int]
    ) -> tuple[dict[int, list[str]], Sequence[ParseError]]:
        """Return the texts of all samples by place; errors of those that are none."""
        texts: dict[int, list[str]] = {}
        errors: list[ParseError] = []
        for text in _split_samples(right):
            value, bar, suffix = text.partition("|")
            before, errors_before = len(self.samples), len(self.errors)
            self._add_sample(value, suffix if bar else None)
            for sample in self.samples[before:]:
                texts.setdefault(places[sample.type], []).append(text)
            if len(self.samples) == before:
                errors += self.errors[errors_before:]
        return texts, errors

    def _line_error(self, reason: ParseErrorReason) -> Parsed:
        return _line_error(reason, self.line, self.tag_errors)

    def _add_sample(self, value: str, suffix: str | None) -> None:
        """
        Parse one sample and add it, or its error.

            3|c|@0.1|#zone:eu
            value  suffix
        """
        self.attempted += 1
        sample = self._parse_sample(value, suffix)
        if isinstance(sample, ParseErrorReason):
            self._add_error(sample, value, suffix)
        elif sample.weight > 0:
            self.samples.append(sample)

    def _add_error(
        self, reason: ParseErrorReason, value: str, suffix: str | None
    ) -> None:
        detail = value if suffix is None else f"{value}|{suffix[:MAX_DETAIL_LENGTH]}"
        self.errors.append(ParseError(reason, detail))

    def _parse_sample(
        self, value_text: str, suffix_text: str | None
    ) -> Sample | ParseErrorReason:
        if suffix_text is None:
            return ParseErrorReason.MALFORMED_COMPONENT
        seen, suffix = self.last_suffix
        if suffix_text != seen:
            suffix = self._parse_suffix(suffix_text)
            self.last_suffix = suffix_text, suffix
        if suffix.too_many:
            return ParseErrorReason.MALFORMED_COMPONENT
        value = syntax.parse_float(value_text)
        sample_type = SAMPLE_TYPES.get(suffix.type_text)
        member = ""
        if sample_type is SampleType.SET and value_text:
            # A member is any text: user ids need not be numbers.
            value, member = 0.0, value_text
        if value is None:
            return ParseErrorReason.MALFORMED_VALUE
        self.tag_errors += suffix.tag_errors
        for _ in range(suffix.bad_rates):
            self._add_error(
                ParseErrorReason.INVALID_SAMPLE_FACTOR, value_text, suffix_text
            )
        if suffix.error is not None:
            return suffix.error
        if suffix.labels:
            self.tagged += 1
        if sample_type is None:
            return ParseErrorReason.ILLEGAL_EVENT
        # statsd times in milliseconds, Prometheus in seconds.
        divisor = 1000.0 if suffix.type_text == "ms" else 1.0
        sample = Sample(
            sample_type,
            self.name,
            value / divisor,
            suffix.labels,
            relative=sample_type is SampleType.GAUGE and value_text[0] in "+-",
            member=member,
            divisor=divisor,
        )
        return _apply_rates(sample, suffix.rates) if suffix.rates else sample

    def _parse_suffix(self, suffix: str) -> _Suffix:
        """
        Parse what follows a value: the type, then sections in any order.

            c|@0.1|#zone:eu|c:1f3a|T1656581400|e:it-false|card:low
        """
        type_text, *sections = suffix.split("|")
        if not sections and not self.name_tags:
            return _Suffix(type_text)
        if len(sections) > MAX_COMPONENTS - 2:
            return _Suffix(type_text, too_many=True)
        if not all(sections):
            return _Suffix(type_text, error=ParseErrorReason.MALFORMED_COMPONENT)
        tags: dict[str, str] = {}
        rates: list[float] = []
        tag_errors = bad_rates = 0
        error: ParseErrorReason | None = None
        for section in sections:
            if section[0] == "@":
                rate, is_valid = _parse_rate(section[1:])
                rates.append(rate)
                bad_rates += not is_valid
            elif section[0] == "#":
                if self.dialect.dogstatsd:
                    more, errors = parse_tags(section[1:], ":")
                    tags.update(more)
                    tag_errors += errors
            elif section.startswith("c:") and len(section) > 2:
                tags["container_id"] = section[2:]
            elif section[0] != "T" and not section.startswith(("e:", "card:")):
                is_container = section[0] == "c"
                error = (
                    ParseErrorReason.MALFORMED_CONTAINER_ID
                    if is_container
                    else ParseErrorReason.INVALID_SAMPLE_FACTOR
                )
                break
        labels = self._labels(tags)
        if labels is None:
            error, labels = error or ParseErrorReason.MALFORMED_CONTAINER_ID, ()
        return _Suffix(type_text, labels, rates, tag_errors, bad_rates, error=error)

    def _labels(self, tags: dict[str, str]) -> Labels | None:
        """
        Merge the tags of a sample with the name's; None if there are too many sets.

        Only a container id joins the tags of a name, and a line comes from one
        container: a new set for each sample would multiply the tags.
        """
        if not self.name_tags:
            return _sorted_labels(tags)
        for known, labels in self.label_sets:
            if known == tags:
                return labels
        if len(self.label_sets) == MAX_LABEL_SETS:
            return None
        labels = _sorted_labels(self.name_tags | tags)
        self.label_sets = (*self.label_sets, (tags, labels))
        return labels


def _parse_rate(rate_text: str) -> tuple[float, bool]:
    """
    Parse a sampling rate; return it and whether it is valid.

    An invalid rate is counted and the sample is kept: with the rate 1, or if the number
    is too large, with an infinite one.
    """
    rate = syntax.parse_float(rate_text)
    if rate is not None:
        return rate or 1.0, True
    return syntax.parse_overflow(rate_text) or 1.0, False


def _split_samples(right: str) -> Iterator[str]:
    """
    Split samples that share a name: `1|c:2|c` is two.

    A colon is also part of the sections `c:`, `e:` and `card:`; statsd_exporter splits
    there too.  These sections come third or later, and no complete sample follows them:

        1|c|c:1f3a     one       1|c:2|c     two
    """
    pending: list[str] = []
    for part in right.split(":"):
        value, bar, _ = part.partition("|")
        if pending and bar and syntax.parse_float(value) is not None:
            yield ":".join(pending)
            pending = []
        # The sample goes on if the part ends with the name of such a section.
        has_sections = part.count("|") > (0 if pending else 1)
        pending.append(part)
        if not (has_sections and part.rpartition("|")[2] in ("c", "e", "card")):
            yield ":".join(pending)
            pending = []
    if pending:
        yield ":".join(pending)


def _apply_rates(sample: Sample, rates: Sequence[float]) -> Sample:
    """Scale a counter by each rate; weight an observation by the last one."""
    if sample.type is SampleType.COUNTER:
        value = sample.value
        for rate in rates:
            value /= rate
        return sample._replace(value=value, divisor=math.prod(rates))
    if sample.type is SampleType.OBSERVER:
        weight = 1 / rates[-1]
        return sample._replace(
            weight=int(weight) if 0 < weight < MAX_OBSERVATIONS else 0
        )
    return sample


def _sorted_labels(tags: dict[str, str]) -> Labels:
    return tuple(sorted(tags.items()))
