"""Tags of plain lines, beside what the grammar makes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.fastpath import tags
from statsd_bridge.fastpath.tags import TagReader
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
