"""
The main job on one screen, with no bot and no Docker: `crocbot demo`.

    people --> sandbox <-- gateway -- statsd --> bridge <-- this reads /metrics
    (here)     (here)      (child)    (UDP)      (child)

It ends after some seconds or at Ctrl-C: people stop, answers are awaited, the gateway
is stopped, then the bridge's page is compared with what people saw.  The exit code is
0 only if everything was answered and every number is right.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from random import Random

from crocbot.sandbox import children
from crocbot.sandbox.assertions import differences
from crocbot.sandbox.children import ChildError
from crocbot.sandbox.metrics_page import Series, table
from crocbot.sandbox.processes import LOOK_EVERY, Processes, stage
from crocbot.sandbox.terminal import BAD, GOOD, TABLE, Terminal
from crocbot.sandbox.users import PEOPLE, Users

AGREE_SECONDS = 5.0
TABLE_EVERY = 4.0


def run(seconds: float | None) -> int:
    """Run the demo for so many seconds, or until Ctrl-C; returns the exit code."""
    try:
        return asyncio.run(_main(seconds, os.environ))
    except asyncio.CancelledError:
        print("crocbot demo: ended at once, nothing was judged", file=sys.stderr)
        return 1


async def _main(seconds: float | None, environment: Mapping[str, str]) -> int:
    """The first signal asks to stop; the second ends it at once, children and all."""
    stop = asyncio.Event()
    main = asyncio.current_task()

    def ask() -> None:
        if stop.is_set() and main is not None:
            main.cancel()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ask)
    screen = Terminal(sys.stdout, environment, lambda: _leave(stop))
    try:
        async with stage(environment) as cast:
            return await _play(cast, screen, stop, seconds)
    except ChildError as error:
        screen.line(f"FAILED: {error}".rstrip(), BAD)
        return 1


def _leave(stop: asyncio.Event) -> None:
    """Nobody reads what we write any more, as in `crocbot demo | head`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    stop.set()


async def _play(
    cast: Processes, screen: Terminal, stop: asyncio.Event, seconds: float | None
) -> int:
    """Let people talk until it is enough, then judge; returns the exit code."""
    screen.lines(_header(cast, seconds))
    users = Users(PEOPLE, cast.server.send, screen.overhear)
    cast.server.listen(users.receive)
    if seconds is not None:
        asyncio.get_running_loop().call_later(seconds, stop.set)
    tables = asyncio.create_task(_tables(cast, screen))
    try:
        await children.while_alive(
            users.converse(stop, Random()), cast.gateway, cast.bridge
        )
    finally:
        tables.cancel()
        await asyncio.gather(tables, return_exceptions=True)
    code = await cast.gateway.stop()
    series, found = await children.while_alive(_judge(cast, users), cast.bridge)
    if code:
        found.append(f"the gateway ended with exit code {code}, expected 0")
    screen.lines(_page(cast, series), TABLE)
    if not found:
        total = users.sent.total()
        screen.line(f"OK: {total} messages, all answered, every number is right", GOOD)
        return 0
    screen.line("FAILED:", BAD)
    screen.lines([*found, *cast.gateway.tail().splitlines()], BAD)
    return 1


def _header(cast: Processes, seconds: float | None) -> Iterator[str]:
    yield "crocbot demo: all of it runs here, nothing leaves this machine"
    yield ""
    yield f"Bot API   {cast.server.url}  a sandbox in place of Telegram, with people"
    yield "gateway   crocbot gateway, which answers with the same words"
    yield f"bridge    {cast.statsd} (UDP), statsd from the gateway"
    yield f"metrics   {cast.metrics_url}  open it, or let Prometheus scrape it"
    yield ""
    yield f"It ends after {seconds:g} s." if seconds is not None else "Ctrl-C ends it."
    yield ""


def _page(cast: Processes, series: Sequence[Series]) -> Iterator[str]:
    yield ""
    yield cast.metrics_url
    yield from table(series)
    yield ""


async def _tables(cast: Processes, screen: Terminal) -> None:
    """Show the page every few seconds."""
    while True:
        await asyncio.sleep(TABLE_EVERY)
        screen.lines(_page(cast, await cast.page()), TABLE)


async def _judge(cast: Processes, users: Users) -> tuple[list[Series], list[str]]:
    """Compare until the last packets are in; returns the page and what differs."""
    deadline = asyncio.get_running_loop().time() + AGREE_SECONDS
    while True:
        series = await cast.page()
        found = differences(users.sent, users.answered, users.mistakes, series)
        if not found or asyncio.get_running_loop().time() > deadline:
            return series, found
        await asyncio.sleep(LOOK_EVERY)
