"""
Whether all is well, and if not, what is not: what grew in the last 15 minutes.

What stopped before that is over; the totals are metrics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from statsd_bridge.exposition import BridgeState
from statsd_bridge.inspection.steps import Json
from statsd_bridge.inspection.traffic import Key, Look, TrafficHistory

RECENT_SECONDS = 900.0
"""A problem of the start is over after this time."""

SILENT_SECONDS = 300.0
"""Without a line for this long, senders are probably not reaching the bridge."""


@dataclass(frozen=True, slots=True)
class Reload:
    """The last reload: its Unix time, and why a file was refused, or empty."""

    at: float
    refused: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """What the page shows of the process besides its counters; times are Unix times."""

    addresses: Mapping[str, str] = field(default_factory=dict)
    """The address that each transport listens on, of those that are on."""
    mapping_file: str = ""
    mapping_loaded_at: float = 0.0
    last_reload: Reload | None = None
    max_series: int = 0


class Problem(NamedTuple):
    """A counter that should not grow, and what it means that it does."""

    name: str
    key: Key
    text: str
    link: str


# A table: its columns are the fields of Problem.
# fmt: off
PROBLEMS: Final = (
    Problem("kernel_drops", ("dropped", "kernel"),
            "packets were dropped by the kernel because the UDP socket was full",
            "#traffic"),
    Problem("truncated", ("dropped", "truncated"),
            "datagrams were too large and lost their last line", "#traffic"),
    Problem("denied_packets", ("dropped", "denied"),
            "packets or connections came from hosts that --statsd.allow-from denies",
            "#traffic"),
    Problem("too_long_lines", ("dropped", "too_long_lines"),
            "lines of streams were too long and dropped", "#traffic"),
    Problem("relay_lost", ("dropped", "relay"),
            "lines were not relayed to another server", "#traffic"),
    Problem("series_limit", ("rejected", "series"),
            "samples of new series were refused: there are --statsd.max-series",
            "#cardinality"),
    Problem("memory_limit", ("rejected", "memory"),
            "samples of new series were refused: --statsd.max-memory is used up",
            "#cardinality"),
    Problem("quota", ("rejected", "quota"),
            "samples of new series were refused: their name has used its quota",
            "#cardinality"),
    Problem("conflicts", ("rejected", "conflict"),
            "samples were refused: their name already has another type", "#unmapped"),
    Problem("failed_lines", ("errors", ""),
            "lines or samples could not be used", "#unmapped"),
    Problem("unmapped", ("total", "unmapped"),
            "samples have a name that no rule matches", "#unmapped"),
    Problem("bugs", ("total", "bugs"),
            "lines or series were skipped because of a bug in the bridge; see its log",
            "#traffic"),
)
# fmt: on


def status(
    state: BridgeState,
    service: ServiceState,
    history: TrafficHistory,
    now: Look,
    started_at: float,
) -> Json:
    """Return the head of the page; its cost does not depend on the series."""
    problems = list(_problems(state, service, history, now, started_at))
    names = ("udp", "tcp", "unixgram", "unixstream", "http")
    reload, memory = service.last_reload, state.memory
    accounts = ("series", "buffers", "matches", "diagnostics", "encoded")
    targets = [
        {"mode": mode, "address": address, "up": bool(is_up)}
        for (mode, address), is_up in state.relay_targets.items()
    ]
    return {
        "version": state.version,
        "started_at": started_at,
        "now": now.time,
        "addresses": {name: service.addresses.get(name) for name in names},
        "relay_targets": targets,
        "mapping": {
            "file": service.mapping_file or None,
            "rules": state.rules,
            "loaded_at": service.mapping_loaded_at,
            "error": (reload.refused or None) if reload else None,
        },
        "reload": reload and {"at": reload.at, "result": reload.refused or "success"},
        "is_well": not problems,
        "problems": problems,
        "series": {"live": state.series, "limit": service.max_series},
        "memory": {
            "used": memory.used,
            "limit": memory.limit or None,
            "by_account": dict(
                zip(accounts, [each.used for each in memory.accounts], strict=True)
            ),
        },
    }


def _problems(
    state: BridgeState,
    service: ServiceState,
    history: TrafficHistory,
    now: Look,
    started_at: float,
) -> Iterator[Json]:
    if service.last_reload and service.last_reload.refused:
        yield {
            "name": "reload_failed",
            "text": f"the last reload was refused: {service.last_reload.refused}",
            "count": 1,
            "since": service.last_reload.at,
            "link": "#rules",
        }
    storage = state.storage
    is_recent = now.time - started_at < RECENT_SECONDS
    if storage.problem and is_recent:
        yield {
            "name": "storage",
            "text": f"the series of the last run were lost: {storage.problem}",
            "count": 1,
            "since": started_at,
            "link": "#series",
        }
    silent = now.clock - history.last_lines_at
    if silent >= SILENT_SECONDS and _lines(now) == _lines(history.newest):
        yield {
            "name": "silent",
            "text": f"no line has arrived for {silent / 60:.0f} minutes",
            "count": 0,
            "since": now.time - silent,
            "link": "#traffic",
        }
    for problem in PROBLEMS:
        # Without rules every name is unmapped, and that is as intended.
        if problem.name == "unmapped" and not state.rules:
            continue
        keys = _keys(problem.key, now)
        count = sum(history.growth(key, now) for key in keys)
        if count > 0:
            times = filter(None, map(history.growing_since, keys))
            yield {
                "name": problem.name,
                "text": f"{problem.text} ({count:,} in the last 15 minutes)",
                "count": count,
                "since": min(times, default=now.time),
                "link": problem.link,
            }


def _keys(key: Key, look: Look) -> list[Key]:
    """Return the keys of a problem: without a name, all of the chart."""
    chart, name = key
    return [key] if name else [each for each in look.counts if each[0] == chart]


def _lines(look: Look) -> int:
    return look.counts.get(("total", "lines"), 0)
