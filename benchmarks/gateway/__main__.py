"""
Messages a second and CPU time a message, the gateway against a plain bot.

    python -m benchmarks.gateway                    three rounds, about a minute
    python -m benchmarks.gateway --short            one small round, for the tests
    python -m benchmarks.gateway --against ../old   another checkout is "before"

The sandbox has a backlog of messages from 64 chats; a bot is started and answers all of
them.  Rounds are interleaved, so that a disturbance of the machine affects all alike.
The exit code is 1 if the gateway does not keep the promise of README.md.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.gateway import bots
from benchmarks.gateway.bots import Bot
from crocbot.sandbox import Person, Server

CHATS = 64
MESSAGES_PER_CHAT = 40
SHORT_MESSAGES_PER_CHAT = 2
WARM_UP_MESSAGES = 2
TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One bot in one round."""

    per_second: float
    cpu_ms: float
    disordered: int


class AnswerLog:
    """The answers by chat, in the order of their arrival."""

    def __init__(self) -> None:
        self.by_chat: dict[int, list[int]] = defaultdict(list)
        self.count = 0
        self._arrived = asyncio.Event()

    def append(self, sent: Any) -> None:
        """Add an answer, a Bot API message."""
        self.by_chat[sent["chat"]["id"]].append(int(sent["text"]))
        self.count += 1
        self._arrived.set()

    async def wait_for(self, count: int) -> None:
        """Wait until there are `count` answers."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while self.count < count:
                self._arrived.clear()
                await self._arrived.wait()

    @property
    def disordered(self) -> int:
        """The number of chats whose answers are not in the order of the messages."""
        return sum(numbers != sorted(numbers) for numbers in self.by_chat.values())


async def measure(bot: Bot, per_chat: int) -> Result:
    """Run a bot through a backlog; the first messages warm it up, unmeasured."""
    async with Server() as server:
        answers = AnswerLog()
        server.listen(answers.append)
        with bot.run(server) as process:
            write(server, range(WARM_UP_MESSAGES))
            await answers.wait_for(WARM_UP_MESSAGES * CHATS)
            cpu, began = machine.cpu_seconds(process.pid), time.monotonic()
            write(server, range(WARM_UP_MESSAGES, WARM_UP_MESSAGES + per_chat))
            await answers.wait_for((WARM_UP_MESSAGES + per_chat) * CHATS)
            seconds = time.monotonic() - began
            cpu = machine.cpu_seconds(process.pid) - cpu
    messages = per_chat * CHATS
    return Result(
        per_second=messages / seconds,
        cpu_ms=1000 * cpu / messages,
        disordered=answers.disordered,
    )


def write(server: Server, numbers: range) -> None:
    """Send each number from every chat, all at once."""
    for number in numbers:
        for chat in range(1, CHATS + 1):
            server.send(Person(chat, f"Person {chat}"), str(number))


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway")
    parser.add_argument("--short", action="store_true", help="one small round")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument(
        "--against", type=Path, metavar="DIR", help='another checkout, as "before"'
    )
    args = parser.parse_args()
    contestants = [bots.gateway("crocbot"), bots.plain()]
    if args.against:
        contestants.append(bots.gateway("before", args.against.resolve()))
    per_chat = SHORT_MESSAGES_PER_CHAT if args.short else MESSAGES_PER_CHAT
    results: dict[str, list[Result]] = defaultdict(list)
    for _ in range(1 if args.short else args.rounds):
        for bot in contestants:
            results[bot.name].append(asyncio.run(measure(bot, per_chat)))
    return report(results, short=args.short)


def report(results: dict[str, list[Result]], *, short: bool) -> int:
    """Print medians; return 1 if the promise is broken, speed aside if `short`."""
    print(f"\n{machine.describe()}")
    print(f"{CHATS} chats, median of {len(results['crocbot'])}\n")
    print("| bot | messages/s | CPU ms/message | chats out of order |")
    print("|---|---:|---:|---:|")
    medians = {}
    for name, rounds in results.items():
        speed = statistics.median(one.per_second for one in rounds)
        cpu = statistics.median(one.cpu_ms for one in rounds)
        disordered = max(one.disordered for one in rounds)
        medians[name] = speed, cpu
        print(f"| {name} | {speed:.0f} | {cpu:.2f} | {disordered} |")
    faster = medians["crocbot"][0] / medians["plain PTB"][0]
    cheaper = medians["plain PTB"][1] / medians["crocbot"][1]
    print(f"\n{faster:.1f} times the messages, 1/{cheaper:.1f} of the CPU time")
    ordered = not any(one.disordered for one in results["crocbot"])
    kept = ordered and (short or (faster >= 2 and cheaper >= 2))
    print("as promised" if kept else "NOT as promised: 2 times, 1/2, none out of order")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
