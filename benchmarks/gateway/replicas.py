"""
One gateway on SQLite, and 1, 2 and 4 replicas on one PostgreSQL.

    python -m benchmarks.gateway.replicas             three rounds, about nine minutes
    python -m benchmarks.gateway.replicas --short     one small round, for the tests

The sandbox has a backlog of messages from 64 chats; the agent repeats them and needs
the conversation of the chat, which is read and stored.  CPU time is that of all
gateways and, apart, of the processes of PostgreSQL.  Statements are all that
pg_stat_statements counted, BEGIN and COMMIT included, without those that an idle
gateway sends as well; "alone" is a message without others at the same time.
PostgreSQL writes to the disk at each commit, like SQLite.  README.md has the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks import machine
from benchmarks.gateway.__main__ import (
    CHATS,
    MESSAGES_PER_CHAT,
    SHORT_MESSAGES_PER_CHAT,
    WARM_UP_MESSAGES,
    AnswerLog,
    write,
)
from benchmarks.gateway.bots import gateway
from crocbot.sandbox import Person, Server
from tests.postgresql import MISSING, Cluster, find_programs

COUNTS = (1, 2, 4)
AGENT = {
    "CROCBOT_AGENT": "python",
    "CROCBOT_AGENT_FUNCTION": "benchmarks.gateway.repeat_agent:answer",
}
LONE_MESSAGES = 20
# Longer than the pause of all that repeats.
IDLE_SECONDS = 8.0
OF_THE_BENCHMARK = "SELECT EXISTS (SELECT FROM chats)"
SETTINGS = {"shared_preload_libraries": "pg_stat_statements"}
MAX_STATEMENTS = 6.0
"""What a message may cost the database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One arrangement in one round."""

    per_second: float
    cpu_ms: float
    database_ms: float
    statements: float
    alone: float
    disordered: int
    duplicates: int


class Database:
    """A cluster whose statements and CPU time are counted."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        cluster.execute("CREATE EXTENSION pg_stat_statements")
        cluster.execute("CREATE EXTENSION pg_stat_statements", "template1")

    def create(self) -> str:
        """Return the URL of a new database."""
        return self._cluster.create_database()

    def statements(self, url: str) -> Counter[str]:
        """Return how often each statement ran in a database so far."""
        name = url.rpartition("/")[2]
        rows = self._cluster.execute(
            "SELECT query, sum(calls)::bigint FROM pg_stat_statements"
            " JOIN pg_database ON pg_database.oid = dbid"
            f" WHERE datname = '{name}' AND query NOT LIKE '{OF_THE_BENCHMARK}%'"
            " GROUP BY query"
        )
        return Counter({query: int(calls) for query, calls in rows})

    def busy(self, url: str) -> bool:
        """Return whether replicas hold chats, or rows are open."""
        name = url.rpartition("/")[2]
        statement = (
            f"{OF_THE_BENCHMARK} OR EXISTS (SELECT FROM rows WHERE disposition IS NULL)"
        )
        return bool(self._cluster.execute(statement, name)[0][0])

    def cpu_seconds(self) -> float:
        """Return the CPU time of all its processes, ended ones included."""
        (server,) = [
            each
            for each in psutil.process_iter(["name", "cmdline"])
            if f"--port={self._cluster.port}" in (each.info["cmdline"] or ())
        ]
        ended = server.cpu_times()
        total = sum(ended)
        for child in server.children():
            with_times = child.cpu_times()
            total += with_times.user + with_times.system
        return float(total)


@contextmanager
def run(server: Server, count: int, url: str) -> Iterator[list[int]]:
    """Run gateways in folders of their own; without a URL one on SQLite."""
    bot = gateway("crocbot")
    with ExitStack() as stack:
        pids = []
        for _ in range(count):
            home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            log = stack.enter_context((home / "log").open("wb"))
            database = {**AGENT, **({"CROCBOT_DATABASE_URL": url} if url else {})}
            process = subprocess.Popen(
                bot.arguments(server),
                cwd=home,
                env={**os.environ, **bot.settings(server, home), **database},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
            pids.append(process.pid)
        yield pids


class Statements:
    """Counts the statements of messages, without those of an idle gateway."""

    def __init__(self, database: Database | None, url: str) -> None:
        self._database = database
        self._url = url
        self._idle: dict[str, float] = {}

    def read(self) -> Counter[str]:
        """Return the statements so far."""
        return self._database.statements(self._url) if self._database else Counter()

    async def watch_idle(self) -> None:
        """Find out what runs each second without messages."""
        before = self.read()
        await asyncio.sleep(IDLE_SECONDS)
        found = self.read() - before
        self._idle = {query: calls / IDLE_SECONDS for query, calls in found.items()}

    async def wait_until_idle(self) -> None:
        """Wait until all rows are closed and all chats given back."""
        while True:
            if self._database is None or not self._database.busy(self._url):
                return
            await asyncio.sleep(0.1)

    def since(self, before: Counter[str], seconds: float) -> dict[str, float]:
        """Return the statements that messages have caused."""
        return {
            query: calls - min(calls, self._idle.get(query, 0.0) * seconds)
            for query, calls in (self.read() - before).items()
        }


async def measure(
    count: int, per_chat: int, database: Database | None, *, explain: bool = False
) -> Result:
    """Let gateways answer a backlog; the first messages warm them up, unmeasured."""
    url = "" if database is None else database.create()
    messages = per_chat * CHATS
    async with Server() as server:
        answers = AnswerLog()
        server.listen(answers.append)
        with run(server, count, url) as pids:
            for number in range(WARM_UP_MESSAGES):
                write(server, range(number, number + 1))
                await answers.wait_for((number + 1) * CHATS)
            # Until all of them take part.
            await asyncio.sleep(3 if count > 1 else 1)
            statements = Statements(database, url)
            if database is not None:
                await statements.watch_idle()
            before = statements.read()
            cpu = sum(map(machine.cpu_seconds, pids))
            database_cpu = 0.0 if database is None else database.cpu_seconds()
            began = time.monotonic()
            write(server, range(WARM_UP_MESSAGES, WARM_UP_MESSAGES + per_chat))
            await answers.wait_for(messages + WARM_UP_MESSAGES * CHATS)
            seconds = time.monotonic() - began
            cpu = sum(map(machine.cpu_seconds, pids)) - cpu
            await statements.wait_until_idle()
            if database is not None:
                database_cpu = database.cpu_seconds() - database_cpu
            caused = statements.since(before, time.monotonic() - began)
            before, began = statements.read(), time.monotonic()
            await answer_alone(server, answers, per_chat + WARM_UP_MESSAGES)
            await statements.wait_until_idle()
            alone = statements.since(before, time.monotonic() - began)
    if explain:
        show(caused, messages)
        show(alone, LONE_MESSAGES)
    firsts = [list(dict.fromkeys(numbers)) for numbers in answers.by_chat.values()]
    return Result(
        per_second=messages / seconds,
        cpu_ms=1000 * cpu / messages,
        database_ms=1000 * database_cpu / messages,
        statements=sum(caused.values()) / messages,
        alone=sum(alone.values()) / LONE_MESSAGES,
        disordered=sum(numbers != sorted(numbers) for numbers in firsts),
        duplicates=answers.count - sum(map(len, firsts)),
    )


async def answer_alone(server: Server, answers: AnswerLog, first: int) -> None:
    """Write messages one after the other, each in a chat of its own."""
    for number in range(LONE_MESSAGES):
        count = answers.count
        server.send(Person(number + 1, f"Person {number + 1}"), str(first))
        await answers.wait_for(count + 1)
        # Until its row is closed and its chat is given back.
        await asyncio.sleep(1.5)


def show(statements: Mapping[str, float], messages: int) -> None:
    """Print the statements of a message, the most frequent first."""
    for query, calls in sorted(statements.items(), key=lambda item: -item[1])[:15]:
        text = " ".join(query.split())
        print(f"{calls / messages:8.3f}  {text[:100]}", file=sys.stderr)
    print(file=sys.stderr)


def main() -> int:
    """Measure and print; return 1 if a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway.replicas")
    parser.add_argument("--short", action="store_true", help="one small round")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument(
        "--explain", action="store_true", help="print the most frequent statements"
    )
    args = parser.parse_args()
    if find_programs() is None:
        print(MISSING)
        return 0
    per_chat = SHORT_MESSAGES_PER_CHAT if args.short else MESSAGES_PER_CHAT
    results: dict[str, list[Result]] = defaultdict(list)
    with Cluster(durable=True, settings=SETTINGS) as cluster:
        database = Database(cluster)
        for _ in range(1 if args.short else args.rounds):
            result = asyncio.run(measure(1, per_chat, None))
            results["SQLite"].append(result)
            for count in COUNTS[: 2 if args.short else None]:
                name = f"PostgreSQL, {count} replica{'s' * (count > 1)}"
                result = asyncio.run(
                    measure(count, per_chat, database, explain=args.explain)
                )
                results[name].append(result)
    return report(results)


def report(results: dict[str, list[Result]]) -> int:
    """Print medians; return 1 if the promise is broken."""
    print(f"\n{machine.describe()}")
    print(f"{CHATS} chats, median of {len(results['SQLite'])}\n")
    print(
        "| | messages/s | CPU ms/message | of PostgreSQL | statements/message"
        " | alone | chats out of order | answers twice |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    kept = True
    for name, rounds in results.items():
        statements = median([one.statements for one in rounds])
        alone = median([one.alone for one in rounds])
        disordered = max(one.disordered for one in rounds)
        print(
            f"| {name} | {median([one.per_second for one in rounds]):.0f}"
            f" | {median([one.cpu_ms for one in rounds]):.2f}"
            f" | {median([one.database_ms for one in rounds]):.2f}"
            f" | {statements:.2f} | {alone:.1f} | {disordered}"
            f" | {max(one.duplicates for one in rounds)} |"
        )
        kept = kept and not disordered and statements <= MAX_STATEMENTS
    promise = f"at most {MAX_STATEMENTS:g} statements, none out of order"
    print("\nas promised" if kept else f"\nNOT as promised: {promise}")
    return 0 if kept else 1


def median(numbers: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(numbers)


if __name__ == "__main__":
    sys.exit(main())
