"""Labels that are encoded by columns: like those of one series after the other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.exposition.protobuf.columns import MAX_PLAIN_LENGTH, encode_columns
from statsd_bridge.exposition.protobuf.wire import encode_labels
from statsd_bridge.syntax import format_labels

VALUES = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", '"', "\\", "\n", ",b=", "v" * 60, "\u00e9"]),
)


@given(
    st.lists(st.sampled_from(["a", "b", "zone", "le_"]), unique=True, min_size=1),
    st.lists(st.lists(VALUES, min_size=4, max_size=4), min_size=1, max_size=6),
)
def test_columns_are_the_labels_of_each_series(
    names: list[str], rows: list[list[str]]
) -> None:
    """Unless a text is long, or has an escape or a character that is not ASCII."""
    texts = [format_labels(zip(names, values, strict=False)) for values in rows]
    joined = "".join(texts)
    is_plain = joined.isascii() and "\\" not in joined
    is_plain &= max(map(len, texts)) <= MAX_PLAIN_LENGTH

    wanted = list(map(encode_labels, texts)) if is_plain else None
    assert encode_columns(names, texts) == wanted
