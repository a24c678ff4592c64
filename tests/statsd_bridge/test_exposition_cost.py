"""No page costs more than its lines: work and memory are counted, not timed."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from statsd_bridge.exposition import openmetrics, text
from statsd_bridge.exposition.slices import MAX_SLICE_BYTES, MAX_SLICE_LINES
from tests.statsd_bridge.in_memory import InMemoryPath

SUMMARY = """
mappings:
- match: t
  name: t
  summary_options:
    max_age: 10m
    age_buckets: {age_buckets}
    quantiles: [{quantiles}]
"""


def summary_rules(age_buckets: int = 5, quantiles: int = 1, error: float = 0.01) -> str:
    """Return a rule for a summary."""
    shares = ",".join(
        f"{{quantile: {i / quantiles}, error: {error}}}" for i in range(quantiles)
    )
    return SUMMARY.format(age_buckets=age_buckets, quantiles=shares)


def buckets(count: int) -> str:
    """Return defaults with a number of buckets."""
    bounds = ",".join(map(str, range(count)))
    return (
        "defaults: {observer_type: histogram, histogram_options:"
        f" {{buckets: [{bounds}]}}}}"
    )


def feed_window(memory: InMemoryPath) -> None:
    """Fill the window of a summary with different values."""
    for second in range(600):
        memory.now += 1
        memory.feed(b"\n".join(b"t:%d|ms" % (second * 7 % 997 + i) for i in range(20)))
    memory.pipeline.flush()


def page(memory: InMemoryPath, module: Any = text) -> Iterator[bytes]:
    """Yield the slices of a page."""
    families = memory.store.families()
    more = {"reserved": ()} if module is openmetrics else {}
    chunks = module.format_families(families, memory.now, memory.bugs, **more)
    return text.join_slices(chunks)


def steps(make_page: Callable[[], Iterator[bytes]]) -> list[int]:
    """Return how many lines of Python each slice of a page runs."""
    count = 0

    def step(_: FrameType, event: str, __: Any) -> Any:
        nonlocal count
        count += event == "line"
        return step

    found = []
    slices = make_page()
    before = sys.gettrace()
    sys.settrace(step)
    try:
        while next(slices, None) is not None:
            found.append(count)
            count = 0
    finally:
        sys.settrace(before)
    return found


@pytest.mark.parametrize(
    ("few", "many"),
    [
        (summary_rules(age_buckets=20), summary_rules(age_buckets=10_000)),
        (summary_rules(error=0.01), summary_rules(error=0)),
        (summary_rules(quantiles=100), summary_rules(quantiles=200)),
        (summary_rules(quantiles=100, error=0), summary_rules(quantiles=200, error=0)),
    ],
    ids=["age buckets", "error", "quantiles", "exact quantiles"],
)
def test_no_option_makes_a_summary_cost_more_than_its_lines(
    few: str, many: str
) -> None:
    """Twice the lines are twice the work, with as many values in the window."""
    work = []
    for rules in (few, many):
        memory = InMemoryPath(rules)
        feed_window(memory)
        work.append(sum(steps(lambda memory=memory: page(memory))))  # type: ignore[misc]
    lines = 2 if "quantile: 0.5," in many and "0.005" in many else 1

    assert work[1] <= 1.5 * lines * work[0] + 500


Fill = Callable[[InMemoryPath], None]

LARGE: dict[str, tuple[str, Fill]] = {
    "one histogram of many buckets": (
        buckets(20_000),
        lambda memory: memory.feed(b"t:5|h"),
    ),
    "two with other buckets": (
        "mappings:\n"
        "- {match: a, name: x, observer_type: histogram, labels: {a: b}}\n"
        "- {match: b, name: x, observer_type: histogram, histogram_options: {buckets: ["
        + ",".join(map(str, range(20_000)))
        + "]}}",
        lambda memory: memory.feed(b"a:5|h\nb:5|h"),
    ),
    "a summary of many quantiles": (
        summary_rules(quantiles=2_000),
        lambda memory: memory.feed(b"t:5|h"),
    ),
    "long labels": (
        "",
        lambda memory: memory.feed(
            *[b"a:1|c|#k:%d" % n + b"v" * 4_000 for n in range(900)]
        ),
    ),
    "many long labels": (
        buckets(20),
        lambda memory: memory.feed(
            *[
                b"t:1|h|#" + b",".join(b"k%d:%d" % (i, n) * 40 for i in range(150))
                for n in range(20)
            ]
        ),
    ),
    "long names": (
        "",
        lambda memory: memory.feed(
            *[b"n" * 1_000 + b"%d:1|ms" % n for n in range(900)]
        ),
    ),
    "full sets": (
        "",
        lambda memory: memory.feed(
            *[b"s:m%d|s|#k:%d" % (m, n) for n in range(30) for m in range(1_500)]
        ),
    ),
    "busy summaries": (
        "",
        lambda memory: memory.feed(
            *[b"t:%d|ms|#k:%d" % (m, n) for n in range(60) for m in range(900)]
        ),
    ),
}


@pytest.mark.parametrize("module", [text, openmetrics])
@pytest.mark.parametrize("name", LARGE)
def test_a_slice_is_a_bounded_amount_of_work(name: str, module: Any) -> None:
    """In lines and in bytes, whatever a series looks like."""
    rules, fill = LARGE[name]
    memory = InMemoryPath(rules)
    fill(memory)
    memory.pipeline.flush()
    longest = max(map(len, page(memory, module)))

    assert longest <= 2.5 * MAX_SLICE_BYTES
    assert max(steps(lambda: page(memory, module))) <= 20 * MAX_SLICE_LINES


@pytest.mark.parametrize("name", ["long labels", "many long labels"])
def test_a_page_in_openmetrics_needs_the_memory_of_a_few_slices(name: str) -> None:
    """Its lines are not kept until the type of the family is known."""
    rules, fill = LARGE[name]
    memory = InMemoryPath(rules)
    fill(memory)
    memory.pipeline.flush()
    size = sum(map(len, page(memory, openmetrics)))
    tracemalloc.start()
    try:
        for _ in page(memory, openmetrics):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert size > 3_000_000
    assert peak < 8 * MAX_SLICE_BYTES


def test_sorting_needs_little_memory() -> None:
    """A family whose labels need sort keys does not hold the keys of all of them."""
    memory = InMemoryPath()
    memory.feed(
        *[b"a:1|c|#k: %d " % (n * 7919 % 9_973) + b"v" * 900 for n in range(9_000)]
    )
    memory.pipeline.flush()
    list(page(memory))
    memory.feed(b"a:1|c|#k: new")
    tracemalloc.start()
    try:
        list(page(memory))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 20_000_000
