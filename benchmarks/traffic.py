"""
Profiles of traffic, each an endless sequence of statsd lines, and packets of them.

`gateway` is what crocbot sends under load: 35 % counters, 45 % timers with distinct
values, 10 % gauges, 10 % errors.  The others are hard for a translator in one respect
each.  All come from a seed, so every server receives the same.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator

MESSAGE_TYPES = ("text", "media", "command")
METHODS = ("sendMessage", "editMessageText", "getUpdates", "sendChatAction")
ERRORS = ("processing", "network", "timeout", "agent", "delivery")
SEVERITIES = ("critical", "warning", "info")
REPEATED_NAMES = 20_000
ROUTES = ("login", "search", "basket", "pay")
ZONES = ("eu", "us", "ap")

Lines = Iterator[str]


def gateway(rng: random.Random) -> Lines:
    """Send what the gateway sends."""
    while True:
        roll = rng.random()
        if roll < 0.35:
            yield f"crocbot.messages.{rng.choice(MESSAGE_TYPES)}:1|c"
        elif roll < 0.80:
            kind, value = rng.choice(MESSAGE_TYPES), rng.expovariate(1 / 900)
            yield f"crocbot.telegram.latency.{kind}:{value:.6f}|ms"
        elif roll < 0.90:
            yield f"crocbot.turns.in_flight:{rng.randrange(64)}|g"
        else:
            kind, severity = rng.choice(ERRORS), rng.choice(SEVERITIES)
            yield f"crocbot.errors.{kind}.{severity}:1|c"


def distinct(rng: random.Random) -> Lines:
    """Send each name once."""
    start = rng.randrange(1 << 30)
    return (f"fresh.name{number}:1|c" for number in itertools.count(start))


def repeated(rng: random.Random) -> Lines:
    """Repeat 20,000 names."""
    names = [f"many.name{number}:1|c" for number in range(REPEATED_NAMES)]
    rng.shuffle(names)
    return itertools.cycle(names)


def gauges(rng: random.Random) -> Lines:
    """Set 200 gauges at random."""
    while True:
        yield f"depth.queue{rng.randrange(200)}:{rng.randrange(10_000)}|g"


def tagged(rng: random.Random) -> Lines:
    """Send counters with DogStatsD tags."""
    while True:
        tags = f"route:{rng.choice(ROUTES)},zone:{rng.choice(ZONES)}"
        yield f"api.hits:{rng.randrange(1, 9)}|c|#{tags}"


def sampled(rng: random.Random) -> Lines:
    """Send timers with a sample rate of 0.1."""
    while True:
        route, value = rng.choice(ROUTES), rng.expovariate(1 / 900)
        yield f"sampled.{route}:{value:.3f}|ms|@0.1"


def summaries(rng: random.Random) -> Lines:
    """Send timers that the rules map to summaries."""
    while True:
        route, value = rng.choice(ROUTES), rng.expovariate(1 / 900)
        yield f"summed.{route}:{value:.3f}|ms"


def counters(_: random.Random) -> Lines:
    """Increment 100,000 counters of three labels in turn."""
    number = range(100_000)
    return itertools.cycle(
        f"wide.a{n % 10}.b{n // 10 % 100}.c{n // 1000}:1|c" for n in number
    )


def histograms(rng: random.Random) -> Lines:
    """Observe 10,000 histograms in turn."""
    while True:
        for number in range(10_000):
            yield f"tall.h{number}:{rng.expovariate(1 / 900):.3f}|ms"


def counter_names(_: random.Random) -> Lines:
    """Increment 20,000 counters of as many names."""
    return itertools.cycle(f"solo.count{number}:1|c" for number in range(20_000))


def timer_names(rng: random.Random) -> Lines:
    """Observe 10,000 timers of as many names in turn."""
    while True:
        for number in range(10_000):
            yield f"solo.time{number}:{rng.expovariate(1 / 900):.3f}|ms"


def tagged_gauges(rng: random.Random) -> Lines:
    """Set 20,000 gauges of one name and 8 tags in turn."""
    while True:
        for number in range(20_000):
            tags = ",".join(f"tag{each}:v{number // 3**each}" for each in range(8))
            yield f"solo.depth:{rng.randrange(10_000)}|g|#{tags}"


def services(rng: random.Random) -> Lines:
    """Send 600 metrics of services, each with three tags: counters, timers, gauges."""
    while True:
        number, roll = rng.randrange(200), rng.random()
        tags = f"route:{rng.choice(ROUTES)},zone:{rng.choice(ZONES)},env:live"
        if roll < 0.4:
            yield f"service.hits{number}:1|c|#{tags}"
        elif roll < 0.8:
            yield f"service.time{number}:{rng.expovariate(1 / 90):.3f}|ms|#{tags}"
        else:
            yield f"service.depth{number}:{rng.randrange(1_000)}|g|#{tags}"


def million(_: random.Random) -> Lines:
    """Increment a million counters of three labels in turn."""
    number = range(1_000_000)
    return itertools.cycle(
        f"wide.a{n % 10}.b{n // 10 % 1000}.c{n // 10_000}:1|c" for n in number
    )


PROFILES: dict[str, Callable[[random.Random], Lines]] = {
    each.__name__: each
    for each in (
        gateway,
        distinct,
        repeated,
        gauges,
        tagged,
        sampled,
        summaries,
        counters,
        histograms,
        counter_names,
        timer_names,
        tagged_gauges,
        services,
        million,
    )
}

RULES = """
mappings:
- {match: "crocbot.messages.*", name: crocbot_messages_total, labels: {type: $1}}
- match: "crocbot.errors.*.*"
  name: crocbot_errors_total
  labels: {type: $1, severity: $2}
- {match: "crocbot.turns.*", name: crocbot_turns, labels: {state: $1}}
- match: "crocbot.telegram.latency.*"
  name: crocbot_telegram_latency_seconds
  labels: {type: $1}
  observer_type: histogram
  histogram_options: &latency
    buckets: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600]
- match: "sampled.*"
  name: sampled_seconds
  labels: {route: $1}
  observer_type: histogram
  histogram_options: *latency
- match: "tall.*"
  name: tall_seconds
  labels: {which: $1}
  observer_type: histogram
  histogram_options: *latency
- match: "summed.*"
  name: summed_seconds
  labels: {route: $1}
  observer_type: summary
- {match: "wide.*.*.*", name: wide_total, labels: {zone: $1, host: $2, disk: $3}}
"""
"""The mapping file of every server that reads one."""

HISTOGRAM_RULES = f"defaults: {{observer_type: histogram}}\n{RULES}"
"""The same, with histograms for timers that no rule takes."""


def packets(profile: str, lines_each: int, count: int, seed: int = 1) -> list[bytes]:
    """Return `count` packets of `lines_each` lines of a profile."""
    lines = PROFILES[profile](random.Random(seed))
    return [
        "\n".join(itertools.islice(lines, lines_each)).encode() for _ in range(count)
    ]
