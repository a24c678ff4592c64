"""Tags of plain lines, beside what the grammar makes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.fastpath import tags
from statsd_bridge.fastpath.tags import TagReader, split_sections
from statsd_bridge.line import parse_line
from statsd_bridge.syntax import escape_metric_name

TEXTS = st.text(st.sampled_from(' ab-.:,#|"\\%s{}()[]\u00e9\x00'), max_size=20)
TAGS = st.lists(st.sampled_from(["a:1", "b:x:y", "c.d:%s", "e:"]), max_size=4)


@given(st.lists(TEXTS | TAGS.map(",".join), max_size=8), st.sampled_from([1, 2, 100]))
def test_values_are_those_of_the_grammar(texts: list[str], min_lines: int) -> None:
    """Whatever was read before, with a pattern of the names and without."""
    reader = TagReader()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tags, "MIN_LINES", min_lines)
        for text in texts:
            values = reader.read(text.encode())
            if values is None:
                continue
            found = dict(
                zip(map(escape_metric_name, reader.names), values, strict=True)
            )
            (sample,) = parse_line(f"x:1|c|#{text}".encode()).samples
            assert tuple(sorted(found.items())) == sample.labels


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (b"zone:eu,host:a1", ["eu", "a1"]),
        (b"zone:eu,url:http://a", ["eu", "http://a"]),
        (b"", None),
        (b"zone", None),
        (b"zone:", None),
        (b"zone:eu,", None),
        (b"#zone:eu", None),
        (b"zone:eu|c:1f3a", None),
        (b'zone:"eu"', None),
        ("zone:\u00e9".encode(), None),
    ],
)
def test_only_plain_tags_are_read(text: bytes, values: list[str] | None) -> None:
    """All others are left to the grammar, also after lines that have a pattern."""
    reader = TagReader()
    assert reader.read(text) == values
    for _ in range(2 * tags.MIN_LINES):
        assert reader.read(b"zone:us") is not None
    found = reader.read(text)

    assert (None if found is None else list(found)) == values


SECTIONS = st.sampled_from(
    [
        *("@0.1", "@2", "@x", "#zone:eu", "#a:1,b:2", "#zone", "#", "#container_id:d"),
        *("c:1f3a", "c:12", "c:1e5", "c:", "c:a:b", "c:a,b:c", 'c:"', "cx", "c:\u00e9"),
        *("T1656581400", "T", "T1:2", "e:it-false", "e:1", "e:1:2|c", "card:low"),
        *("card:", "card:inf", "x:1", "", "2", "c", "T\r", "c:ab\r"),
    ]
)


@given(st.sampled_from(["c", "g", "ms", "s", "x", ""]), st.lists(SECTIONS, max_size=8))
def test_sections_are_those_of_the_grammar(kind: str, sections: list[str]) -> None:
    """A suffix that is split means the same as its head with its tags."""
    suffix = "|".join([kind, *sections])
    found = split_sections(suffix.encode())
    if found is None:
        return
    tags = found.tags and b"|#" + found.tags
    parsed = parse_line(b"x:1|" + suffix.encode())
    short = parse_line(b"x:1|" + found.head + tags)
    if parsed.attempted != 1 or parsed.errors:
        assert [each.reason for each in parsed.errors] == [
            each.reason for each in short.errors
        ]
    assert parsed.samples == short.samples
    assert (parsed.tagged, parsed.tag_errors) == (short.tagged, short.tag_errors)


@pytest.mark.parametrize(
    ("suffix", "sections"),
    [
        (b"c|#zone:eu|c:1f3a", (b"c", b"zone:eu,container_id:1f3a", False)),
        (b"ms|@0.1|c:ci-1f3a", (b"ms|@0.1", b"container_id:ci-1f3a", False)),
        (b"c|#a:b|c:1f|T5|e:it-no|card:low", (b"c", b"a:b,container_id:1f", True)),
        (b"c|T1656581400", (b"c", b"", True)),
        (b"c|c:12|T5", None),
        (b"c|#a:b|c:x,y:z", None),
        (b"c|#a:b|c:", None),
        (b"c|#", None),
        (b"c|#a:b|T1|T2|T3|T4|T5|T6", None),
        ("c|#a:b|e:\u00e9".encode(), None),
    ],
)
def test_only_plain_sections_are_split(
    suffix: bytes, sections: tuple[bytes, bytes, bool] | None
) -> None:
    """A container id is a tag; what may be two samples is left to the grammar."""
    assert split_sections(suffix) == sections
