"""No input makes a batch cost more than its lines: work is counted, not timed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from statsd_bridge import fastpath
from statsd_bridge.fastpath import FastPipeline, resolve, split
from tests.statsd_bridge.in_memory import BOTH_PATHS, InMemoryPath, MakePipeline


def tags(count: int, separator: bytes) -> bytes:
    """Return a list of tags."""
    return b",".join(b"k%d%bv" % (i, separator) for i in range(count))


HARD_INPUTS: dict[str, Callable[[int], bytes]] = {
    "new names": lambda n: b"\n".join(b"n%d:1|c" % i for i in range(n)),
    "names that come twice": lambda n: b"\n".join(
        b"n%d:1|c" % (i // 2) for i in range(n)
    ),
    "relative gauges": lambda n: b"g:1|g\n" + b"g:+1|g\n" * n,
    "unusual numbers": lambda n: b"g:1|g\n" * n + b"g:0x1p1|g\n" * n,
    "unusual and plain numbers": lambda n: b"g:1|g\ng:0x1p1|g\nt:5|ms\nt:nan|ms\n" * n,
    "no bars": lambda n: b"a:1\nb:1|c\n" * n,
    "no colons": lambda n: b"broken\nb:1|c\n" * n,
    "empty lines": lambda n: b"\n" * n + b"b:1|c" + b"\n" * n,
    "one long line": lambda n: b"x" * n * 20,
    "each with its own suffix": lambda n: b"\n".join(
        b"a:1|c|#k:%d" % i for i in range(n)
    ),
    "tags with other names by turns": lambda n: b"\n".join(
        b"a:1|c|#%b:%d" % (b"k" if i % 2 else b"j", i) for i in range(n)
    ),
    "each with its own names of tags": lambda n: b"\n".join(
        b"a:1|c|#k%d:v" % i for i in range(n)
    ),
    "each with its own rate": lambda n: b"\n".join(
        b"a:1|c|@0.%d" % i for i in range(n)
    ),
    "two types by turns": lambda n: b"a:1|c\na:1|g\n" * n,
    "one name and then another": lambda n: b"a:1|c\n" * n + b"b:1|c\n" * n,
    "one name and then none": lambda n: b"a:1|c\n" * n + b"\n",
    "names in turn": lambda n: b"\n".join(b"n%d:%d|c" % (i % 20, i) for i in range(n)),
    "packed": lambda n: b"t:1:2:3:4:5:6:7:8|ms\n" * n,
    "packed with tags": lambda n: b"t" + b":1" * n + b"|ms|#" + tags(n, b":"),
    "packed with tags, rejected": lambda n: (
        b"t" + b":1" * n + b"|ms|#quantile:1," + tags(n, b":")
    ),
    "packed with tags, one too long": lambda n: (
        b"t" + b":1" * n + b"|ms|#" + tags(n, b":") + b",long:" + b"x" * 5_000
    ),
    "packed with tags, broken": lambda n: b"t" + b":x" * n + b"|ms|#" + tags(n, b":"),
    "samples with tags": lambda n: b"t," + tags(n, b"=") + b":1|c:1|ms" * n,
    "samples with tags and rates": lambda n: (
        b"t," + tags(n, b"=") + b"".join(b":1|c|@0.%d" % i for i in range(1, n))
    ),
    "samples with tags and containers": lambda n: (
        b"t," + tags(n, b"=") + b"".join(b":1|c|c:%d" % i for i in range(n))
    ),
    "containers": lambda n: b"t:1|c" + b"|c:" * n,
    "samples of a long name": lambda n: b"a." * n + b"a:1|c" + b":1|c:1|ms" * n,
    "one packed line": lambda n: b"t:" + b"1:" * n + b"1|ms",
}


def steps(
    text: bytes, make_pipeline: MakePipeline = FastPipeline, **bounds: Any
) -> int:
    """Return how many lines of Python the processing of a text runs, three times."""
    count = 0
    memory = InMemoryPath(sources=("app",), make_pipeline=make_pipeline, **bounds)

    def step(_: FrameType, event: str, __: Any) -> Any:
        nonlocal count
        count += event == "line"
        return step

    for _ in range(3):
        before = sys.gettrace()
        sys.settrace(step)
        try:
            memory.feed(text)
            memory.pipeline.flush()
        finally:
            sys.settrace(before)
    return count


@pytest.mark.parametrize("mean", [1, split.MIN_LINES_PER_GROUP])
@pytest.mark.parametrize("name", HARD_INPUTS)
def test_twice_the_lines_are_no_more_than_twice_the_work(
    name: str, mean: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apart from work that does not depend on their number."""
    monkeypatch.setattr(split, "MIN_LINES_PER_GROUP", mean)
    monkeypatch.setattr(fastpath, "MIN_GROUPED_BYTES", 0)
    once, twice = (steps(HARD_INPUTS[name](n)) for n in (150, 300))

    assert twice <= 2.2 * once + 200


def test_lines_that_are_never_alike_cost_little_more_than_on_the_plain_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Few of them get a shape, which would be for one line only."""
    monkeypatch.setattr(resolve, "MAX_SHAPES", 10)
    text = HARD_INPUTS["each with its own names of tags"](300)
    plain, fast = (steps(text, make_pipeline) for make_pipeline in BOTH_PATHS)

    assert fast <= 1.35 * plain


@pytest.mark.parametrize(
    "bounds",
    [
        {"max_series": 0},
        {"max_memory": 1},
        {"quota_file": "quotas: [{match: t, max_series: 1}]"},
    ],
)
def test_a_refused_series_costs_the_same_for_many_samples(
    bounds: dict[str, Any],
) -> None:
    """The labels of a line are examined once, whatever the number of its samples."""
    once, twice = (
        steps(b"t:1|ms\n" + HARD_INPUTS["packed with tags"](n), **bounds)
        for n in (150, 300)
    )

    assert twice <= 2.2 * once + 200


def test_series_beyond_a_quota_cost_the_same_for_any_number_of_quotas() -> None:
    """A name looks for its quota once, and only the few patterns are tried in turn."""
    text = b"\n".join(b"t:1|c|#id:%d" % number for number in range(100))
    few, many = (
        steps(
            text,
            quota_file="quotas:\n"
            + "".join(f"- {{match: a{i}_*, max_series: 9}}\n" for i in range(number))
            + "- {match: t, max_series: 50}",
        )
        for number in (10, 900)
    )

    assert many <= few + 20
