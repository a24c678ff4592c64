"""What a page keeps of series for the next one: right, charged and bounded."""

from __future__ import annotations

from itertools import cycle
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.exposition import openmetrics, protobuf, text
from statsd_bridge.memory import Account
from statsd_bridge.series.native_policy import MAX_IDLE_SECONDS
from tests.statsd_bridge.in_memory import InMemoryPath

RULES = """
defaults: {ttl: 700s}
mappings:
- match: h.*
  name: h
  labels: {label: $1}
  observer_type: histogram
  histogram_options: {buckets: [1, 5]}
- match: s.*
  name: s
  labels: {label: $1}
  summary_options: {max_age: 60s, age_buckets: 3}
- {match: alone, name: alone, observer_type: histogram}
- {match: summary, name: summary, help: say "it"}
"""

NAMES = ("h.a", "h.b", "s.a", "s.b", "alone", "summary")
LINES = st.builds(
    "{}:{}|h{}".format,
    st.sampled_from(NAMES),
    st.sampled_from(["1", "-2", "7.25", "nan", "0", "1e300"]),
    st.sampled_from(["", "|@0.5", "|@0.000001"]),
)
STEPS = st.lists(
    st.one_of(LINES, st.sampled_from([0.0, 1.0, 21.0, 100.0, 701.0])), max_size=30
)


def page(memory: InMemoryPath, module: Any, kept: Account) -> str:
    """Return a page, as text if it is binary, whose series keep it in an account."""
    more = {"reserved": ()} if module is openmetrics else {}
    families, now, bugs = memory.store.families(), memory.now, memory.bugs
    chunks = module.format_families(families, now, bugs, kept=kept, **more)
    join = protobuf.join_slices if module is protobuf else text.join_slices
    return b"".join(join(chunks)).decode("latin-1")


MODULES = [text, openmetrics, protobuf]


@given(STEPS, st.lists(st.sampled_from(MODULES), min_size=1, max_size=4))
def test_a_page_shows_what_it_would_without_the_last_one(
    steps: list[str | float], modules: list[Any]
) -> None:
    """Whatever was recorded, expired or left a window since, in any format."""
    first, second = InMemoryPath(RULES), InMemoryPath(RULES)
    for step, module in zip(steps, cycle(modules), strict=False):
        for memory in (first, second):
            if isinstance(step, str):
                memory.feed(step.encode())
                memory.pipeline.flush()
            else:
                memory.pass_seconds(step)
        shown = page(first, module, first.memory.encoded)

        assert shown == page(second, module, text.NOTHING_KEPT)


def test_numbers_are_charged_until_their_series_expires() -> None:
    """A page that shows the same keeps as much, a series that is removed nothing."""
    memory = InMemoryPath(RULES)
    kept = memory.memory.encoded
    memory.feed(*[f"{name}:3|h".encode() for name in NAMES])
    memory.pipeline.flush()
    page(memory, text, kept)
    used = kept.used
    page(memory, text, kept)
    unchanged = kept.used
    memory.feed(b"h.a:3|h")
    memory.pipeline.flush()
    page(memory, text, kept)
    changed = kept.used
    memory.pass_seconds(701)

    assert 150 * len(NAMES) < used == unchanged == changed
    assert kept.used == 0


def test_without_room_nothing_is_kept() -> None:
    """The page is the same; what was kept before is released."""
    memory = InMemoryPath(RULES)
    memory.feed(b"h.a:3|h\nh.b:3|h")
    memory.pipeline.flush()
    full = Account(300)
    shown = page(memory, text, full)
    used = full.used
    full.limit = 0
    memory.feed(b"h.a:3|h\nh.b:3|h")
    memory.pipeline.flush()
    page(memory, text, full)

    assert shown.count("h_count") == 2
    assert 0 < used <= 300
    assert full.used == 0


def test_a_series_with_many_rows_keeps_nothing() -> None:
    """Its text would take more memory than its counts."""
    buckets = ",".join(map(str, range(text.MAX_KEPT_ROWS)))
    memory = InMemoryPath(
        "defaults: {observer_type: histogram, histogram_options:"
        f" {{buckets: [{buckets}]}}}}"
    )
    memory.feed(b"t:3|h")
    memory.pipeline.flush()

    assert page(memory, text, memory.memory.encoded).count("t_bucket") > 40
    assert memory.memory.encoded.used == 0


def test_a_metric_is_not_shown_again_without_its_native_buckets() -> None:
    """They are dropped at once if no page in protobuf was asked for in an hour."""
    memory = InMemoryPath("defaults: {observer_type: histogram}")
    memory.feed(b"t:3|ms\nt:4|ms")
    memory.pipeline.flush()
    kept = memory.memory.encoded
    before = page(memory, protobuf, kept)
    again = page(memory, protobuf, kept)
    memory.pass_seconds(MAX_IDLE_SECONDS + 1)
    after = page(memory, protobuf, kept)

    assert before == again != after
    assert after == page(memory, protobuf, Account(0))
