"""
Lines against a second, plain reading of the grammar.

The model here was written from what statsd_exporter 0.30.0 is known to do and from our
list of differences (docs/compatibility.md), not from the code.  Where the two disagree,
one of them has misread.
"""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from statsd_bridge import line
from statsd_bridge.model import SampleType

Tags = dict[str, str]

KINDS = {"c": SampleType.COUNTER, "g": SampleType.GAUGE, "s": SampleType.SET}
KINDS |= dict.fromkeys(("ms", "h", "d"), SampleType.OBSERVER)
WORD = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"


def go_float(text: str) -> float | None:
    """Read a number by Go's rules; those that overflow are infinite."""
    body = text[1:] if text[:1] in ("+", "-") else text
    sign = -1.0 if text[:1] == "-" else 1.0
    if body.lower() in ("inf", "infinity"):
        return sign * math.inf
    if text.lower() == "nan":
        return math.nan
    for i, char in enumerate(body):
        around = body[i - 1 : i] + body[i + 1 : i + 2]
        if char == "_" and not (len(around) == 2 and around.isdigit()):
            return None
        if char not in "0123456789_.eE+-":
            return None
    try:
        return sign * float(body.replace("_", "")) if body[:1] not in "+-" else None
    except ValueError:
        return None


def _escaped(name: str) -> str:
    """Escape a name one character after the other."""
    out = "_" if name[:1] in tuple("0123456789") else ""
    before = ""
    for char in name:
        if char in WORD:
            out += char
        elif not (char == "-" and before == "-"):
            out += "_"
        before = char
    return out


def several(right: str) -> list[str]:
    """Cut samples at colons, but not at those of the sections c:, e: and card:."""
    found: list[str] = []
    for piece in right.split(":"):
        parts = found[-1].split("|") if found else []
        value, bar, _ = piece.partition("|")
        is_open = len(parts) > 2 and parts[-1] in ("c", "e", "card")
        if is_open and not (bar and go_float(value) is not None):
            found[-1] += f":{piece}"
        else:
            found.append(piece)
    return found


class Model:
    """One line; what is in it, and what is wrong with it."""

    def __init__(self, raw: bytes) -> None:
        self.samples: list[tuple[object, ...]] = []
        self.errors: list[str] = []
        self.attempted = self.tagged = self.tag_errors = 0
        self._line(raw.removesuffix(b"\r"))

    def _bad(self, reason: str) -> None:
        self.errors.append(reason)

    def _line(self, raw: bytes) -> None:
        if not raw:
            return None
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return self._bad("malformed_line")
        if text.startswith(("_e{", "_sc|")):
            return None
        left, colon, right = text.partition(":")
        if not colon or not left:
            return self._bad("malformed_line")
        tags: Tags = {}
        name = self._name(left, tags)
        if "|#" in right and tags:
            return self._bad("mixed_tagging_styles")
        if "|" not in right:
            return self._bad("not_enough_parts_after_colon")
        value, rest = right.split("|", 1)
        if ":" in value:
            if rest.split("|")[0] not in ("ms", "h", "d"):
                return self._bad("invalid_extended_aggregate_type")
            samples = [f"{each}|{rest}" for each in value.split(":")]
        else:
            samples = [right] if "|#" in right else list(several(right))
        for sample in samples:
            self.attempted += 1
            self._sample(name, dict(tags), sample.split("|"))
        return None

    def _name(self, left: str, tags: Tags) -> str:
        opening, closing = left.find("["), left.find("]")
        if opening >= 0 and closing > opening:
            self._tags(left[opening + 1 : closing], "=", tags)
            return left[:opening] + left[closing + 1 :]
        if opening >= 0 or closing >= 0:
            self.tag_errors += 1
            return left
        for i, char in enumerate(left):
            if char in "#,":
                self._tags(left[i + 1 :], "=", tags)
                return left[:i]
        return left

    def _tags(self, listed: str, separator: str, tags: Tags) -> None:
        pairs = listed.split(",")
        for pair in pairs[:-1] if pairs[-1] == "" else pairs:
            trimmed = pair[1:] if separator == ":" and pair[:1] == "#" else pair
            key, _, value = trimmed.partition(separator)
            if key and value:
                tags[_escaped(key)] = value
            else:
                self.tag_errors += 1

    def _sample(self, name: str, tags: Tags, parts: list[str]) -> None:
        if not 2 <= len(parts) <= 8:
            return self._bad("malformed_component")
        text, kind, *sections = parts
        value = go_float(text)
        if kind == "s" and text:
            value = 0.0
        if value is None or (math.isinf(value) and "inf" not in text.lower()):
            return self._bad("malformed_value")
        if "" in sections:
            return self._bad("malformed_component")
        repeat = 1
        for section in sections:
            if section[0] == "@":
                rate = go_float(section[1:])
                if rate is None or (math.isinf(rate) and "inf" not in section.lower()):
                    self._bad("invalid_sample_factor")
                rate = rate or 1.0
                if kind == "c":
                    value /= rate
                elif kind in ("ms", "h", "d"):
                    repeat = int(1 / rate) if 0 < 1 / rate < 2**63 else 0
            elif section[0] == "#":
                self._tags(section[1:], ":", tags)
            elif section[0] == "T" or section.startswith(("e:", "card:")):
                pass
            elif section[0] == "c":
                if section[:2] != "c:" or section == "c:":
                    return self._bad("malformed_container_id")
                tags["container_id"] = section[2:]
            else:
                return self._bad("invalid_sample_factor")
        self.tagged += bool(tags)
        if kind not in KINDS:
            return self._bad("illegal_event")
        if repeat:
            value = value / 1000 if kind == "ms" else value
            is_delta = kind == "g" and text[0] in "+-"
            member = text if kind == "s" else ""
            labels = tuple(sorted(tags.items()))
            self.samples.append(
                (KINDS[kind], name, repr(value), labels, is_delta, repeat, member)
            )
        return None


def some(words: str, sizes: str = "1") -> st.SearchStrategy[str]:
    """Draw a few of these words, put together."""
    low, _, high = sizes.partition("-")
    drawn = st.lists(
        st.sampled_from(words.split(" ")), min_size=int(low), max_size=int(high or low)
    )
    return drawn.map("".join)


SEGMENTS = "a b c a b c-d x1 1x A é * _sum _count _bucket " + "--e"
NAMES = st.lists(some(SEGMENTS), min_size=1, max_size=4).map(".".join)
NAME_TAGS = some(",k=v #k=v,two=w [one=1] [k=v]z ,k #le=1 ,quantile=1 , [k=v ]a ,a-b=é")
NUMBERS = some("0 1 2 5 100 -1 +2 -0 1.5 .5 5. 1e3 1_0 nan inf x 1e999 +nan 0x1 é")
TYPES = some("c c c g g ms ms h d s C kv")
SECTIONS = some(
    "|@0.5 |@0.1 |@2 |@0 |@x |@-1 |@nan |@1e999 |#k:v |#one:1,two:2 |#k |#,a:b |##k:v,"
    " |#__x:y |#le:1 |#quantile:2 |c:abc |c: |T123 |e:in-1 |card:low | |zzz",
    "0-3",
)
SAMPLES = st.builds("{}|{}{}".format, NUMBERS, TYPES, SECTIONS)
VALUES = st.one_of(
    SAMPLES,
    SAMPLES,
    st.lists(SAMPLES, min_size=2, max_size=3).map(":".join),
    st.builds("{}:{}|{}".format, NUMBERS, NUMBERS, some("ms h d c ms|#k:v h|@0.5")),
    some("1 | : |c 1|c 2|g @ # \\xff", "0-4"),
)
TAIL = some("\r  ", "0-1").filter(lambda tail: tail != " ")
LINES = st.one_of(
    st.builds("{}:{}".format, NAMES, VALUES),
    st.builds("{}{}:{}{}".format, NAMES, NAME_TAGS, VALUES, TAIL),
    some("a : | c 1 , = [ ] # \r _e{5,4}:t|x _sc|n|0", "0-6"),
)


@settings(max_examples=1000, deadline=None)
@given(LINES)
def test_both_readings_agree(text: str) -> None:
    """Samples, faults and what is counted are the model's, whatever comes in."""
    raw = text.encode().replace(b"\\xff", b"\xff")
    model, parsed = Model(raw), line.parse(raw)

    # repr(): NaN is not NaN, and -0 is 0.
    samples = [each._replace(value=repr(each.value)) for each in parsed.samples]
    assert samples == model.samples
    assert [fault.reason for fault in parsed.errors] == model.errors
    assert parsed.attempted == model.attempted
    assert parsed.tagged == model.tagged
    assert parsed.tag_errors == model.tag_errors
