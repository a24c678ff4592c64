"""
One statsd line to the samples in it, and what is wrong with the rest.

    api.hits,route=login:3|c|@0.1|#zone:eu|c:1f3a
    ^        ^           ^ ^ ^    ^        ^
    name     name tags   | | rate tags     container id
                     value type

- A line may carry several samples: `name:1|c:2|ms`, or, for timers only, several values
  before the type: `name:1:2:3|ms`.
- Parsing never raises and never stops early: half a line can be good, and yields both
  samples and faults.
- The grammar is statsd_exporter 0.30.0's, and so are the reasons and what they count.
  Where we differ on purpose, a comment says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from statsd_bridge import text
from statsd_bridge.model import Fault, Kind, Labels, Parsed, Sample, SampleError

KINDS = {
    "c": Kind.COUNTER,
    "g": Kind.GAUGE,
    "ms": Kind.OBSERVER,
    "h": Kind.OBSERVER,
    "d": Kind.OBSERVER,
    "s": Kind.SET,
}
PACKABLE = frozenset({"ms", "h", "d"})

# value, type, and one section of each kind: rate, tags, container, time, e:, card:
MOST_COMPONENTS = 8

# int(1/rate) of statsd_exporter overflows here, and the sample vanishes.
MOST_OBSERVATIONS = 2.0**63


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
    return Parsed(faults=(Fault(reason, detail),), tag_errors=tag_errors)


@dataclass(slots=True)
class _Line:
    """What has been found so far in one line."""

    whole: str
    dialect: Dialect
    samples: list[Sample] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    attempted: int = 0
    tagged: int = 0
    tag_errors: int = 0

    def read(self, left: str, right: str) -> Parsed:
        """
        Read the name, then each sample.

            left : right
        """
        name, name_tags = self._name(left)
        dog = "|#" in right
        if dog and name_tags:
            return self._line_fault(SampleError.MIXED_TAGGING_STYLES)
        if "|" not in right:
            return self._line_fault(SampleError.NOT_ENOUGH_PARTS)
        values, _, rest = right.partition("|")
        if ":" in values:
            if rest.partition("|")[0] not in PACKABLE:
                return self._line_fault(SampleError.INVALID_EXTENDED_AGGREGATE)
            pieces = [f"{value}|{rest}" for value in values.split(":")]
        else:
            pieces = [right] if dog else list(_several(right))
        for piece in pieces:
            self._sample(name, name_tags, piece)
        return self._parsed()

    def _parsed(self) -> Parsed:
        return Parsed(
            self.samples, self.faults, self.attempted, self.tagged, self.tag_errors
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
            tags = self._tags(left[start + 1 : end], "=")
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
        return left[:first], self._tags(left[first + 1 :], "=")

    def _tags(self, listed: str, separator: str) -> dict[str, str]:
        """
        Read a list of tags; a bad one is counted and left out, the last one wins.

            k=v,j=w     or     k:v,#j:w
        """
        tags: dict[str, str] = {}
        parts = listed.split(",")
        if not parts[-1]:
            # Nothing at all, or one trailing comma, is no error.
            parts.pop()
        for part in parts:
            pair = part.removeprefix("#") if separator == ":" else part
            key, found, value = pair.partition(separator)
            if not (key and found and value):
                self.tag_errors += 1
                continue
            tags[text.metric_name(key)] = value
        return tags

    def _sample(self, name: str, name_tags: dict[str, str], piece: str) -> None:
        """
        Read one sample.

            3|c|@0.1|#zone:eu
        """
        self.attempted += 1
        found = self._components(name, name_tags, piece)
        if isinstance(found, SampleError):
            self.faults.append(Fault(found, piece))
        elif found is not None and found.weight > 0:
            self.samples.append(found)

    def _components(
        self, name: str, name_tags: dict[str, str], piece: str
    ) -> Sample | SampleError:
        components = piece.split("|")
        if not 2 <= len(components) <= MOST_COMPONENTS:
            return SampleError.MALFORMED_COMPONENT
        written, kind_text, *sections = components
        value = text.number(written)
        kind = KINDS.get(kind_text)
        member = ""
        if kind is Kind.SET and written:
            # A member is any text: user ids need not be numbers.
            value, member = 0.0, written
        if value is None:
            return SampleError.MALFORMED_VALUE
        if not all(sections):
            return SampleError.MALFORMED_COMPONENT
        tags = dict(name_tags)
        rates: list[float] = []
        for section in sections:
            fault = self._section(section, tags, rates, piece)
            if fault is not None:
                return fault
        if tags:
            self.tagged += 1
        if kind is None:
            return SampleError.ILLEGAL_EVENT
        return _sampled(
            Sample(
                kind,
                name,
                # statsd times in milliseconds, Prometheus in seconds.
                value / 1000 if kind_text == "ms" else value,
                _labels(tags),
                relative=kind is Kind.GAUGE and written[0] in "+-",
                member=member,
            ),
            rates,
        )

    def _section(
        self, section: str, tags: dict[str, str], rates: list[float], piece: str
    ) -> SampleError | None:
        """
        Read one section after the type.

            @0.1   #k:v,j:w   c:1f3a   T1656581400   e:it-false   card:low
        """
        if section[0] == "@":
            rate = text.number(section[1:])
            if rate is None:
                # Counted, and the sample is kept: as if it said 1, or if it is too
                # large a number, as if it said infinity.
                self.faults.append(Fault(SampleError.INVALID_SAMPLE_FACTOR, piece))
                rate = text.overflow(section[1:])
            rates.append(rate or 1.0)
            return None
        if section[0] == "#":
            if self.dialect.dogstatsd:
                tags.update(self._tags(section[1:], ":"))
            return None
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
    Cut samples that share a name: `1|c:2|ms` is two.

    A colon also belongs to the sections `c:`, `e:` and `card:`; statsd_exporter cuts
    there as well.  They come third or later, and no complete sample follows them:

        1|c|c:1f3a     one       1|c:2|c     two
    """
    pending = ""
    for piece in right.split(":"):
        if pending and (
            text.number(piece.partition("|")[0]) is None or "|" not in piece
        ):
            pending = f"{pending}:{piece}"
        else:
            if pending:
                yield pending
            pending = piece
        components = pending.split("|")
        if len(components) < 3 or components[-1] not in ("c", "e", "card"):
            yield pending
            pending = ""
    if pending:
        yield pending


def _sampled(sample: Sample, rates: list[float]) -> Sample:
    """Weigh a sample by its rates: a counter by each, a timer by the last."""
    if not rates:
        return sample
    if sample.kind is Kind.COUNTER:
        value = sample.value
        for rate in rates:
            value /= rate
        return sample._replace(value=value)
    if sample.kind is Kind.OBSERVER:
        share = 1 / rates[-1]
        return sample._replace(
            weight=int(share) if 0 < share < MOST_OBSERVATIONS else 0
        )
    return sample


def _labels(tags: dict[str, str]) -> Labels:
    return tuple(sorted(tags.items()))
