"""
What the senders say: a kind of traffic and a number in, packets out.

`gateway` is what crocbot sends under load: 35 % counters, 45 % timers that all differ,
10 % gauges, 10 % errors.  The others are what a translator may find hard.  Everything
comes from a seed, so each server hears the same.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator

COUNTED = ("text", "media", "command")
METHODS = ("sendMessage", "editMessageText", "getUpdates", "sendChatAction")
ERRORS = ("processing", "network", "timeout", "agent", "delivery")
SEVERITIES = ("critical", "warning", "info")
MANY = 20_000
ROUTES = ("login", "search", "basket", "pay")
ZONES = ("eu", "us", "ap")

Lines = Iterator[str]


def gateway(rng: random.Random) -> Lines:
    """Say what the gateway says."""
    while True:
        roll = rng.random()
        if roll < 0.35:
            yield f"crocbot.messages.{rng.choice(COUNTED)}:1|c"
        elif roll < 0.80:
            kind, value = rng.choice(COUNTED), rng.expovariate(1 / 900)
            yield f"crocbot.telegram.latency.{kind}:{value:.6f}|ms"
        elif roll < 0.90:
            yield f"crocbot.turns.in_flight:{rng.randrange(64)}|g"
        else:
            where, how = rng.choice(ERRORS), rng.choice(SEVERITIES)
            yield f"crocbot.errors.{where}.{how}:1|c"


def distinct(rng: random.Random) -> Lines:
    """Say each name once."""
    start = rng.randrange(1 << 30)
    return (f"fresh.name{number}:1|c" for number in itertools.count(start))


def many(rng: random.Random) -> Lines:
    """Say 20,000 names again and again."""
    names = [f"many.name{number}:1|c" for number in range(MANY)]
    rng.shuffle(names)
    return itertools.cycle(names)


def gauges(rng: random.Random) -> Lines:
    """Set 200 gauges."""
    while True:
        yield f"depth.queue{rng.randrange(200)}:{rng.randrange(10_000)}|g"


def tagged(rng: random.Random) -> Lines:
    """Put DogStatsD tags on every line."""
    while True:
        tags = f"route:{rng.choice(ROUTES)},zone:{rng.choice(ZONES)}"
        yield f"api.hits:{rng.randrange(1, 9)}|c|#{tags}"


def sampled(rng: random.Random) -> Lines:
    """Time one in ten."""
    while True:
        route, value = rng.choice(ROUTES), rng.expovariate(1 / 900)
        yield f"sampled.{route}:{value:.3f}|ms|@0.1"


def summaries(rng: random.Random) -> Lines:
    """Time what the rules keep as summaries."""
    while True:
        route, value = rng.choice(ROUTES), rng.expovariate(1 / 900)
        yield f"summed.{route}:{value:.3f}|ms"


def counters(_: random.Random) -> Lines:
    """Count 100,000 series of three labels, each once, then anew."""
    number = range(100_000)
    return itertools.cycle(
        f"wide.a{n % 10}.b{n // 10 % 100}.c{n // 1000}:1|c" for n in number
    )


def histograms(rng: random.Random) -> Lines:
    """Observe 10,000 histograms, each once, then anew."""
    while True:
        for number in range(10_000):
            yield f"tall.h{number}:{rng.expovariate(1 / 900):.3f}|ms"


KINDS: dict[str, Callable[[random.Random], Lines]] = {
    each.__name__: each
    for each in (
        gateway,
        distinct,
        many,
        gauges,
        tagged,
        sampled,
        summaries,
        counters,
        histograms,
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
- {match: "wide.*.*.*", name: wide_total, labels: {a: $1, b: $2, c: $3}}
"""
"""The mapping file of every server that reads one."""


def packets(kind: str, lines_each: int, count: int, seed: int = 1) -> list[bytes]:
    """Make packets of so many lines each."""
    lines = KINDS[kind](random.Random(seed))
    return [
        "\n".join(itertools.islice(lines, lines_each)).encode() for _ in range(count)
    ]
