"""Whether all is well, and the charts of the last 15 minutes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from statsd_bridge.inspection import Reload
from statsd_bridge.inspection.traffic import POINTS, STEP_SECONDS
from tests.statsd_bridge.in_memory import InMemoryPath

RULES = "mappings: [{match: good, name: good}, {match: cut, name: cut}]"


def pass_steps(path: InMemoryPath, count: int) -> None:
    """Let looks be taken."""
    path.flush()
    for _ in range(count):
        path.now += STEP_SECONDS
        path.created += STEP_SECONDS
        path.inspector.look()


def problems(path: InMemoryPath) -> dict[str, int]:
    """Return the problems with their counts."""
    path.flush()
    status = path.inspector.status()
    assert status["is_well"] == (not status["problems"])
    return {each["name"]: each["count"] for each in status["problems"]}


def drop(path: InMemoryPath) -> None:
    """Let the kernel drop datagrams."""
    path.kernel_drops += 3


def refuse(path: InMemoryPath) -> None:
    """Let a reload be refused."""
    last = Reload(path.created, "rules.yml: wrong")
    path.service = replace(path.service, last_reload=last)


def lose_series(path: InMemoryPath) -> None:
    """Let the file of the last run be damaged."""
    path.storage.problem = "series: its checksum is wrong"


TROUBLE: list[tuple[Callable[[InMemoryPath], None], dict[str, int]]] = [
    (lambda path: path.feed(b"good:1|c"), {}),
    (lambda path: path.feed(b"other:1|c\nother:1|c"), {"unmapped": 2}),
    (lambda path: path.feed(b"good\ngood:x|c"), {"failed_lines": 2}),
    (lambda path: path.feed(b"good:1|c\ngood:1|g"), {"conflicts": 1}),
    (lambda path: path.feed(b"cut:1|c|#a:1\ncut:1|c|#a:2"), {"quota": 1}),
    (drop, {"kernel_drops": 3}),
    (refuse, {"reload_failed": 1}),
    (lose_series, {"storage": 1}),
]


@pytest.mark.parametrize(("trouble", "found"), TROUBLE)
def test_problems(
    trouble: Callable[[InMemoryPath], None], found: dict[str, int]
) -> None:
    """What goes wrong is a problem at once, with its count, and over 15 minutes on."""
    path = InMemoryPath(RULES, quota_file="quotas: [{match: cut, max_series: 1}]")
    assert not problems(path)
    trouble(path)

    assert problems(path) == found
    pass_steps(path, 10)
    assert problems(path) == found
    for _ in range(POINTS // 10 + 1):
        path.feed(b"good:1|c")
        pass_steps(path, 10)
    assert problems(path) == {k: n for k, n in found.items() if k == "reload_failed"}


def test_silence_is_a_problem() -> None:
    """No line for five minutes, until the next one."""
    path = InMemoryPath(RULES)
    path.feed(b"good:1|c")
    pass_steps(path, 50)
    assert not problems(path)
    pass_steps(path, 20)
    assert problems(path) == {"silent": 0}
    path.feed(b"good:1|c")
    assert not problems(path)


def test_charts_are_rates() -> None:
    """Each chart has a line for each transport, type or reason, per second."""
    path = InMemoryPath(RULES)
    path.feed(*[b"good:1|c"] * 10)
    pass_steps(path, 1)
    path.feed(b"good", b"good:1|g")
    pass_steps(path, 1)
    charts = path.inspector.traffic()

    assert charts["times"] == [path.created - STEP_SECONDS, path.created]
    assert charts["lines"] == {"udp": [2.0, 0.4]}
    assert charts["packets"] == {"udp": [2.0, 0.4]}
    assert charts["samples"] == {"counter": [2.0, 0.0]}
    assert charts["errors"] == {"malformed_line": [0.0, 0.2]}
    assert charts["rejected"]["conflict"] == [0.0, 0.2]
    assert charts["series"] == [1, 1]
    assert path.inspector.traffic(charts["times"][0])["times"] == charts["times"][1:]
    pass_steps(path, POINTS + 10)
    assert len(path.inspector.traffic()["times"]) == POINTS


@pytest.mark.parametrize("count", [1, 1_200])
def test_the_text_of_a_problem(count: int) -> None:
    """It reads well for one packet and for many."""
    path = InMemoryPath(RULES)
    path.kernel_drops = count
    assert path.inspector.status()["problems"][0]["text"] == (
        "packets were dropped by the kernel because the UDP socket was full"
        f" ({count:,} in the last 15 minutes)"
    )
