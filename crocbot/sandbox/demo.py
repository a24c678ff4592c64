"""
The main job on one screen, with no bot and no Docker: `crocbot demo`.

    users  --> sandbox <-- gateway -- statsd --> bridge <-- this reads /metrics
    (here)     (here)      (child)    (UDP)      (child)

It ends after some seconds or at Ctrl-C: the users stop, their answers are awaited, the
gateway is stopped, then the bridge's page is compared with what the users saw.  The
exit code is 0 only if every message was answered and every number is right.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from random import Random

from prometheus_client.samples import Sample

from crocbot.sandbox import children, metrics_page, processes
from crocbot.sandbox.assertions import differences
from crocbot.sandbox.children import ChildError
from crocbot.sandbox.processes import CHECK_SECONDS, Processes
from crocbot.sandbox.terminal import BAD, GOOD, TABLE, Terminal
from crocbot.sandbox.users import PEOPLE, Users

AGREE_SECONDS = 20.0
"""Time for the last packets to reach the page; a busy machine needs some of it."""

TABLE_SECONDS = 4.0


def run(seconds: float | None, agent: str | None = None) -> int:
    """
    Run the demo until its time is over, or Ctrl-C; returns the exit code.

    `agent` is the agent that is set, None for the echo, whose answers are known.
    """
    try:
        return asyncio.run(_main(seconds, os.environ, agent))
    except asyncio.CancelledError:
        print("crocbot demo: ended at once, nothing was judged", file=sys.stderr)
        return 1


async def _main(
    seconds: float | None, environment: Mapping[str, str], agent: str | None
) -> int:
    """Run the demo; the first signal asks it to stop, the second cancels it."""
    stop = asyncio.Event()
    main = asyncio.current_task()

    def on_signal() -> None:
        if stop.is_set() and main is not None:
            main.cancel()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    terminal = Terminal(sys.stdout, environment, stop)
    try:
        starting = processes.start(environment, own_agent=agent is not None)
        async with starting as running:
            demo = Demo(running=running, terminal=terminal, stop=stop, agent=agent)
            return await demo.run(seconds)
    except ChildError as error:
        terminal.line(f"FAILED: {error}".rstrip(), BAD)
        return 1


class Demo:
    """One run with all processes ready."""

    def __init__(
        self,
        *,
        running: Processes,
        terminal: Terminal,
        stop: asyncio.Event,
        agent: str | None,
    ) -> None:
        self._agent = agent
        self._running = running
        self._terminal = terminal
        self._stop = stop
        self._users = Users(
            PEOPLE, running.server, terminal, known_answers=agent is None
        )

    async def run(self, seconds: float | None) -> int:
        """Let the users write, then compare; returns the exit code."""
        self._terminal.lines(self._header(seconds))
        if seconds is not None:
            asyncio.get_running_loop().call_later(seconds, self._stop.set)
        await self._converse()
        code = await self._running.gateway.stop()
        samples, found = await children.while_alive(
            self._compare(), self._running.bridge
        )
        if code:
            found.append(f"the gateway ended with exit code {code}, expected 0")
        self._terminal.lines(self._page(samples), TABLE)
        if not found:
            total = self._users.sent.total()
            line = f"OK: {total} messages, all answered, every number is right"
            known = "" if self._agent is None else "; what answers say is not judged"
            self._terminal.line(line + known, GOOD)
            return 0
        self._terminal.line("FAILED:", BAD)
        log = self._running.gateway.tail().splitlines()
        self._terminal.lines([*found, *log], BAD)
        return 1

    async def _converse(self) -> None:
        """Let the users write until asked to stop, and show the page meanwhile."""
        tables = asyncio.create_task(self._show_tables())
        try:
            await children.while_alive(
                self._users.converse(self._stop, Random()),
                self._running.gateway,
                self._running.bridge,
            )
        finally:
            tables.cancel()
            await asyncio.gather(tables, return_exceptions=True)

    async def _show_tables(self) -> None:
        while True:
            await asyncio.sleep(TABLE_SECONDS)
            self._terminal.lines(self._page(await self._running.samples()), TABLE)

    async def _compare(self) -> tuple[list[Sample], list[str]]:
        """Compare until the last packets have arrived; return page and differences."""
        users = self._users
        deadline = asyncio.get_running_loop().time() + AGREE_SECONDS
        while True:
            samples = await self._running.samples()
            found = differences(
                sent=users.sent,
                answered=users.answered,
                mistakes=users.mistakes,
                samples=samples,
            )
            if not found or asyncio.get_running_loop().time() > deadline:
                return samples, found
            await asyncio.sleep(CHECK_SECONDS)

    def _header(self, seconds: float | None) -> Iterator[str]:
        running = self._running
        end = f"It ends after {seconds:g} s." if seconds is not None else ""
        agent, answers = "", "which answers with the same words"
        if self._agent is not None:
            agent = ", but for what the agent sends"
            answers = f"with the agent that CROCBOT_AGENT names: {self._agent}"
        yield f"crocbot demo: all of it runs here, nothing leaves this machine{agent}"
        yield ""
        yield f"Bot API   {running.server.url}  a sandbox in place of Telegram"
        yield f"gateway   crocbot gateway, {answers}"
        yield f"bridge    {running.statsd} (UDP), statsd from the gateway"
        yield f"metrics   {running.metrics_url}  open it, or let Prometheus scrape it"
        yield ""
        yield end or "Ctrl-C ends it."
        yield ""

    def _page(self, samples: Sequence[Sample]) -> Iterator[str]:
        yield ""
        yield self._running.metrics_url
        yield from metrics_page.table(samples)
        yield ""
