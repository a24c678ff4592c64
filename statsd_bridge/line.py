"""
One statsd line to the samples in it, and what is wrong with the rest.

    api.hits,route=login:3|c|@0.1|#zone:eu|c:1f3a
    ^        ^           ^ ^ ^    ^        ^
    name     name tags   | | rate tags     container id
                     value type

- A line may carry several samples: `name:1|c:2|ms`, or, for timers only, several values
  before the type: `name:1:2:3|ms`.
- Parsing never raises and never stops early: half a line can be good, and yields both
  samples and errors.
- The grammar is statsd_exporter 0.30.0's, and so are the reasons and what they count.
  Where we differ on purpose, a comment says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from statsd_bridge import text
from statsd_bridge.model import (
    Labels,
    Parsed,
    ParseError,
    Sample,
    SampleError,
    SampleType,
)

KINDS = {
    "c": SampleType.COUNTER,
    "g": SampleType.GAUGE,
    "ms": SampleType.OBSERVER,
    "h": SampleType.OBSERVER,
    "d": SampleType.OBSERVER,
    "s": SampleType.SET,
}
PACKABLE = frozenset({"ms", "h", "d"})

# value, type, and one section of each kind: rate, tags, container, time, e:, card:
MOST_COMPONENTS = 8

# int(1/rate) of statsd_exporter overflows here, and the sample vanishes.
MOST_OBSERVATIONS = 2.0**63

# Characters of what is wrong with a sample, besides its value.
LONGEST_DETAIL = 1_024

# Samples without tags of their own, and those of one container.
MOST_MERGED = 2


@dataclass(frozen=True, slots=True)
class Dialect:
    """Which styles of tags are read; the others are ordinary text."""

    dogstatsd: bool = True
    influxdb: bool = True
    librato: bool = True
    signalfx: bool = True


ALL = Dialect()


def parse(line: bytes, dialect: Dialect = ALL) -> Parsed:
    """Read one line, without its newline; any bytes will do."""
    # Liberal: statsd_exporter drops a carriage return over TCP only.
    raw = line[:-1] if line.endswith(b"\r") else line
    if not raw:
        return Parsed()
    try:
        whole = raw.decode()
    except UnicodeDecodeError:
        shown = raw.decode("utf-8", "backslashreplace")
        return _refused(SampleError.MALFORMED_LINE, shown)
    if dialect.dogstatsd and whole.startswith(("_e{", "_sc|")):
        kind = "event" if whole[1] == "e" else "service_check"
        return Parsed(dogstatsd=kind)
    left, colon, right = whole.partition(":")
    if not colon or not left:
        return _refused(SampleError.MALFORMED_LINE, whole)
    return _Line(whole, dialect).read(left, right)


def _refused(reason: SampleError, detail: str, tag_errors: int = 0) -> Parsed:
    return Parsed(errors=(ParseError(reason, detail),), tag_errors=tag_errors)


class _Rest(NamedTuple):
    """What follows the value of a sample: the same for all values that share it."""

    kind_text: str
    labels: Labels = ()
    rates: Sequence[float] = ()
    tag_errors: int = 0
    bad_rates: int = 0
    too_many: bool = False
    """It has more components than a sample may."""
    fault: SampleError | None = None
    """The first one, if any, of a section."""


_NO_REST = _Rest("")


@dataclass(slots=True)
class _Line:
    """
    What has been found so far in one line.

    What samples share is read once, however many they are: a line with thousands of
    values and thousands of tags must not cost the product of both.
    """

    whole: str
    dialect: Dialect
    name: str = field(init=False)
    name_tags: dict[str, str] = field(init=False)
    samples: list[Sample] = field(default_factory=list)
    errors: list[ParseError] = field(default_factory=list)
    attempted: int = 0
    tagged: int = 0
    tag_errors: int = 0
    last: tuple[str | None, _Rest] = (None, _NO_REST)
    """What followed the last value, and what that means."""
    merged: tuple[tuple[dict[str, str], Labels], ...] = ()
    """Tags of samples, each with the labels that they make with the name's."""

    def read(self, left: str, right: str) -> Parsed:
        """
        Read the name, then each sample.

            left : right
        """
        self.name, self.name_tags = self._name(left)
        dog = "|#" in right
        if dog and self.name_tags:
            return self._line_fault(SampleError.MIXED_TAGGING_STYLES)
        if "|" not in right:
            return self._line_fault(SampleError.NOT_ENOUGH_PARTS)
        values, _, rest = right.partition("|")
        if ":" in values:
            if rest.partition("|")[0] not in PACKABLE:
                return self._line_fault(SampleError.INVALID_EXTENDED_AGGREGATE)
            for value in values.split(":"):
                self._sample(value, rest)
        else:
            for piece in [right] if dog else _several(right):
                value, bar, rest = piece.partition("|")
                self._sample(value, rest if bar else None)
        return self._parsed()

    def _parsed(self) -> Parsed:
        return Parsed(
            self.samples, self.errors, self.attempted, self.tagged, self.tag_errors
        )

    def _line_fault(self, reason: SampleError) -> Parsed:
        return _refused(reason, self.whole, self.tag_errors)

    def _name(self, left: str) -> tuple[str, dict[str, str]]:
        """
        Take the tags out of a name.

            na[k=v,j=w]me   na#k=v,j=w   na,k=v,j=w
              SignalFX       Librato      InfluxDB
        """
        if self.dialect.signalfx and ("[" in left or "]" in left):
            start, end = left.find("["), left.find("]")
            # statsd_exporter 0.30.0 ends when they are the wrong way round.
            if start < 0 or end < start:
                self.tag_errors += 1
                return left, {}
            tags, self.tag_errors = _tags(left[start + 1 : end], "=")
            return left[:start] + left[end + 1 :], tags
        starts = [
            left.find(mark)
            for mark, wanted in (
                ("#", self.dialect.librato),
                (",", self.dialect.influxdb),
            )
            if wanted and mark in left
        ]
        if not starts:
            return left, {}
        first = min(starts)
        tags, self.tag_errors = _tags(left[first + 1 :], "=")
        return left[:first], tags

    def _sample(self, value: str, rest: str | None) -> None:
        """
        Read one sample.

            3|c|@0.1|#zone:eu
            value  rest
        """
        self.attempted += 1
        found = self._components(value, rest)
        if isinstance(found, SampleError):
            self._fault(found, value, rest)
        elif found.weight > 0:
            self.samples.append(found)

    def _fault(self, reason: SampleError, value: str, rest: str | None) -> None:
        detail = value if rest is None else f"{value}|{rest[:LONGEST_DETAIL]}"
        self.errors.append(ParseError(reason, detail))

    def _components(self, written: str, after: str | None) -> Sample | SampleError:
        if after is None:
            return SampleError.MALFORMED_COMPONENT
        seen, rest = self.last
        if after != seen:
            rest = self._rest(after)
            self.last = after, rest
        if rest.too_many:
            return SampleError.MALFORMED_COMPONENT
        value = text.parse_float(written)
        kind = KINDS.get(rest.kind_text)
        member = ""
        if kind is SampleType.SET and written:
            # A member is any text: user ids need not be numbers.
            value, member = 0.0, written
        if value is None:
            return SampleError.MALFORMED_VALUE
        self.tag_errors += rest.tag_errors
        for _ in range(rest.bad_rates):
            self._fault(SampleError.INVALID_SAMPLE_FACTOR, written, after)
        if rest.fault is not None:
            return rest.fault
        if rest.labels:
            self.tagged += 1
        if kind is None:
            return SampleError.ILLEGAL_EVENT
        return _sampled(
            Sample(
                kind,
                self.name,
                # statsd times in milliseconds, Prometheus in seconds.
                value / 1000 if rest.kind_text == "ms" else value,
                rest.labels,
                relative=kind is SampleType.GAUGE and written[0] in "+-",
                member=member,
            ),
            rest.rates,
        )

    def _rest(self, after: str) -> _Rest:
        """
        Read what follows a value.

            c|@0.1|#zone:eu
        """
        kind_text, *sections = after.split("|")
        if not sections and not self.name_tags:
            return _Rest(kind_text)
        if len(sections) > MOST_COMPONENTS - 2:
            return _Rest(kind_text, too_many=True)
        if not all(sections):
            return _Rest(kind_text, fault=SampleError.MALFORMED_COMPONENT)
        tags: dict[str, str] = {}
        rates: list[float] = []
        tag_errors = bad_rates = 0
        fault: SampleError | None = None
        for section in sections:
            if section[0] == "@":
                rate, is_good = _rate(section[1:])
                rates.append(rate)
                bad_rates += not is_good
            elif section[0] == "#":
                if self.dialect.dogstatsd:
                    more, errors = _tags(section[1:], ":")
                    tags.update(more)
                    tag_errors += errors
            else:
                fault = _section(section, tags)
                if fault is not None:
                    break
        labels = self._labels(tags)
        if labels is None:
            fault, labels = fault or SampleError.MALFORMED_CONTAINER_ID, ()
        return _Rest(kind_text, labels, rates, tag_errors, bad_rates, fault=fault)

    def _labels(self, tags: dict[str, str]) -> Labels | None:
        """
        Merge the tags of a sample with the name's; None is one set of them too many.

        Only a container joins the tags of a name, and a line comes from one: more would
        multiply the tags.
        """
        if not self.name_tags:
            return _labels(tags)
        for known, labels in self.merged:
            if known == tags:
                return labels
        if len(self.merged) == MOST_MERGED:
            return None
        labels = _labels(self.name_tags | tags)
        self.merged = (*self.merged, (tags, labels))
        return labels


def _tags(listed: str, separator: str) -> tuple[dict[str, str], int]:
    """
    Read a list of tags; a bad one is counted and left out, the last one wins.

        k=v,j=w     or     k:v,#j:w
    """
    tags: dict[str, str] = {}
    errors = 0
    parts = listed.split(",")
    if not parts[-1]:
        # Nothing at all, or one trailing comma, is no error.
        parts.pop()
    for part in parts:
        pair = part.removeprefix("#") if separator == ":" else part
        key, found, value = pair.partition(separator)
        if not (key and found and value):
            errors += 1
            continue
        tags[text.escape_metric_name(key)] = value
    return tags, errors


def _rate(written: str) -> tuple[float, bool]:
    """
    Read a rate, and tell whether it is good.

    A bad one is counted, and the sample is kept: as if it said 1, or if it is too large
    a number, as if it said infinity.
    """
    rate = text.parse_float(written)
    if rate is not None:
        return rate or 1.0, True
    return text.parse_overflow(written) or 1.0, False


def _section(section: str, tags: dict[str, str]) -> SampleError | None:
    """
    Read a section that is neither rate nor tags.

        c:1f3a   T1656581400   e:it-false   card:low
    """
    if section[0] == "T" or section.startswith(("e:", "card:")):
        return None
    if section[0] == "c":
        if not section.startswith("c:") or len(section) == 2:
            return SampleError.MALFORMED_CONTAINER_ID
        tags["container_id"] = section[2:]
        return None
    return SampleError.INVALID_SAMPLE_FACTOR


def _several(right: str) -> Iterator[str]:
    """
    Cut samples that share a name: `1|c:2|c` is two.

    A colon also belongs to the sections `c:`, `e:` and `card:`; statsd_exporter cuts
    there as well.  They come third or later, and no complete sample follows them:

        1|c|c:1f3a     one       1|c:2|c     two
    """
    pending: list[str] = []
    for piece in right.split(":"):
        value, bar, _ = piece.partition("|")
        if pending and bar and text.parse_float(value) is not None:
            yield ":".join(pending)
            pending = []
        # It goes on if it ends in such a section's first word.
        goes_on = piece.count("|") > (0 if pending else 1)
        pending.append(piece)
        if not (goes_on and piece.rpartition("|")[2] in ("c", "e", "card")):
            yield ":".join(pending)
            pending = []
    if pending:
        yield ":".join(pending)


def _sampled(sample: Sample, rates: Sequence[float]) -> Sample:
    """Weigh a sample by its rates: a counter by each, a timer by the last."""
    if not rates:
        return sample
    if sample.type is SampleType.COUNTER:
        value = sample.value
        for rate in rates:
            value /= rate
        return sample._replace(value=value)
    if sample.type is SampleType.OBSERVER:
        share = 1 / rates[-1]
        return sample._replace(
            weight=int(share) if 0 < share < MOST_OBSERVATIONS else 0
        )
    return sample


def _labels(tags: dict[str, str]) -> Labels:
    return tuple(sorted(tags.items()))
