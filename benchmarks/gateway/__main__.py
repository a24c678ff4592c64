"""
Messages a second and processor time a message, ours against a plain bot.

    python -m benchmarks.gateway            three rounds, about a minute
    python -m benchmarks.gateway --short    one small round: no numbers, does it work?

A sandbox here has a backlog of messages from 64 chats; a bot is started and answers
them all.  Rounds are interleaved, so that what disturbs the machine disturbs both.  The
exit code is 1 if ours does not keep what README.md promises.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from benchmarks.gateway import bots
from benchmarks.gateway.bots import Bot
from crocbot.sandbox import Person, Server

CHATS = 64
EACH = 40
WARM = 2
PATIENCE = 300.0


@dataclass(frozen=True)
class Result:
    """One bot in one round."""

    per_second: float
    cpu_ms: float
    disordered: int


class Hearer:
    """Hears all answers, and notes when."""

    def __init__(self) -> None:
        self.told: dict[int, list[int]] = defaultdict(list)
        self.count = 0
        self.changed = asyncio.Event()

    def hear(self, sent: Any) -> None:
        """Take an answer."""
        self.told[sent["chat"]["id"]].append(int(sent["text"]))
        self.count += 1
        self.changed.set()

    async def until(self, count: int) -> None:
        """Wait for so many answers."""
        async with asyncio.timeout(PATIENCE):
            while self.count < count:
                self.changed.clear()
                await self.changed.wait()

    @property
    def disordered(self) -> int:
        """Chats whose answers came in another order than the questions."""
        return sum(told != sorted(told) for told in self.told.values())


async def measure(bot: Bot, each: int) -> Result:
    """Run a bot through a backlog; what it does first, to get warm, does not count."""
    async with Server() as server:
        hearer = Hearer()
        server.listen(hearer.hear)
        with bot.run(server) as process:
            say(server, range(WARM))
            await hearer.until(WARM * CHATS)
            cpu, began = bots.cpu_seconds(process), time.monotonic()
            say(server, range(WARM, WARM + each))
            await hearer.until((WARM + each) * CHATS)
            took = time.monotonic() - began
            cpu = bots.cpu_seconds(process) - cpu
        messages = each * CHATS
        return Result(messages / took, 1000 * cpu / messages, hearer.disordered)


def say(server: Server, numbers: range) -> None:
    """Let everybody write these numbers, at the same time."""
    for number in numbers:
        for chat in range(1, CHATS + 1):
            server.say(Person(chat, f"Person {chat}"), str(number))


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway")
    parser.add_argument("--short", action="store_true", help="one small round")
    short = parser.parse_args().short
    rivals = [bots.ours(), bots.plain()]
    results: dict[str, list[Result]] = defaultdict(list)
    for _ in range(1 if short else 3):
        for bot in rivals:
            result = asyncio.run(measure(bot, 2 if short else EACH))
            results[bot.name].append(result)
    return report(results, short)


def report(results: dict[str, list[Result]], short: bool) -> int:
    """Print medians; returns 1 if the promise is broken."""
    print(f"\n{CHATS} chats, median of {len(results['crocbot'])}\n")
    print("| bot | messages/s | CPU ms/message | chats out of order |")
    print("|---|---|---|---|")
    medians = {}
    for name, rounds in results.items():
        speed = statistics.median(one.per_second for one in rounds)
        cpu = statistics.median(one.cpu_ms for one in rounds)
        disordered = max(one.disordered for one in rounds)
        medians[name] = speed, cpu
        print(f"| {name} | {speed:.0f} | {cpu:.2f} | {disordered} |")
    faster, cheaper = (
        medians["crocbot"][0] / medians["plain PTB"][0],
        medians["plain PTB"][1] / medians["crocbot"][1],
    )
    print(f"\n{faster:.1f} times the messages, 1/{cheaper:.1f} of the processor time")
    ordered = not any(one.disordered for one in results["crocbot"])
    kept = ordered and (short or (faster >= 2 and cheaper >= 2))
    print("as promised" if kept else "NOT as promised: 2 times, 1/2, none out of order")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
