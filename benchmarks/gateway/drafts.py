"""
Answers that grow, as drafts and as messages that are edited.

    python -m benchmarks.gateway.drafts             60 chats, about a minute
    python -m benchmarks.gateway.drafts --short     3 chats, for the tests

The people of some chats ask at the same time; the agent writes each answer in words,
ten a second.  The sandbox is a server of today, then one of 2024; both refuse more than
30 messages and edits a second, like Telegram.  README.md has the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from benchmarks import machine
from benchmarks.gateway.bots import Bot, gateway
from crocbot.sandbox import Person, Server
from crocbot.sandbox.drafts import ShownDraft
from crocbot.sandbox.limits import MessageLimit
from crocbot.sandbox.messages import Sent

CHATS, SHORT_CHATS = 60, 3
WORDS, SHORT_WORDS = 150, 15
WORDS_PER_SECOND = 10.0
TIMEOUT_SECONDS = 120.0
METHODS = ("sendmessagedraft", "sendmessage", "editmessagetext", "sendchataction")


@dataclass(slots=True)
class Watch:
    """What the people of the chats see, in seconds after their question."""

    asked_at: float = 0.0
    last: str = ""
    first: dict[int, float] = field(default_factory=dict)
    whole: dict[int, float] = field(default_factory=dict)

    def see_draft(self, draft: ShownDraft) -> None:
        """Take a draft."""
        self._see(draft.chat.chat_id)

    def see(self, sent: Sent) -> None:
        """Take a message, new or edited."""
        chat = sent["chat"]["id"]
        self._see(chat)
        if sent["text"].endswith(self.last):
            self.whole.setdefault(chat, time.monotonic() - self.asked_at)

    def _see(self, chat: int) -> None:
        self.first.setdefault(chat, time.monotonic() - self.asked_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent over HTTP whose answers have this number of words."""

    words: int

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Write one answer, a word at a time."""
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        for number in range(self.words):
            await response.write(f"word{number} ".encode())
            await asyncio.sleep(1 / WORDS_PER_SECOND)
        return response


async def measure(*, old: bool, chats: int, words: int) -> str:
    """Run one server; return its line of the table."""
    limit = MessageLimit()
    app = web.Application()
    app.router.add_post("/", Agent(words=words).handle)
    agent = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await agent.setup()
    await web.TCPSite(agent, "127.0.0.1", 0).start()
    host, port = agent.addresses[0][:2]
    watch = Watch(last=f"word{words - 1}")
    async with Server(old=old, limit=limit) as server:
        server.listen(watch.see)
        server.listen_drafts(watch.see_draft)
        with bot(f"http://{host}:{port}/").run(server):
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await until(lambda: bool(server.calls["getupdates"]))
                watch.asked_at = time.monotonic()
                for chat in range(1, chats + 1):
                    server.send(Person(chat, f"Person {chat}"), "tell me")
                await until(lambda: len(watch.whole) == chats)
        calls = [server.calls[method] / chats for method in METHODS]
    await agent.cleanup()
    first = statistics.quantiles(watch.first.values(), n=20)
    cells = [
        "2024: edits" if old else "today: drafts",
        *(f"{count:.1f}" for count in calls),
        f"{limit.refused}",
        f"{first[9]:.2f} s, {first[18]:.2f} s",
        f"{statistics.median(watch.whole.values()):.1f} s",
    ]
    return f"| {' | '.join(cells)} |"


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.05)


def bot(url: str) -> Bot:
    """Return the gateway, with the agent at this URL."""
    plain = gateway("crocbot")
    return Bot(
        plain.name,
        plain.arguments,
        lambda server, home: {
            **plain.settings(server, home),
            "CROCBOT_AGENT": "http",
            "CROCBOT_AGENT_URL": url,
            "CROCBOT_STATSD_HOST": "off",
        },
    )


def main() -> int:
    """Measure both servers and print a table; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway.drafts")
    parser.add_argument("--short", action="store_true", help="few chats, short answers")
    short = parser.parse_args().short
    chats = SHORT_CHATS if short else CHATS
    words = SHORT_WORDS if short else WORDS
    print(f"\n{machine.describe()}")
    print(f"{chats} chats at once, answers of {words / WORDS_PER_SECOND:g} s\n")
    print(
        "| server | drafts | sendMessage | edits | typing | flood waits of all chats"
        " | first text: median, p95 | whole answer |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for old in (True, False):
        print(asyncio.run(measure(old=old, chats=chats, words=words)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
