"""
The sandbox alone, for a gateway that runs elsewhere: `python -m crocbot.sandbox`.

    users --> server <-- Bot API over HTTP -- a gateway, once it polls

Users write as soon as a bot polls; those without an answer stop, and begin again when
it polls again.  At SIGTERM they stop, wait some seconds for their answers, and the last
line is JSON: how many messages were sent and answered, and how many answers were wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from random import Random

from crocbot.sandbox.messages import Person, Sent
from crocbot.sandbox.rich import shown_text
from crocbot.sandbox.server import Server
from crocbot.sandbox.terminal import Terminal
from crocbot.sandbox.users import PEOPLE, SimulatedUser, script

PORT = 8081
PAUSE_SECONDS = (0.5, 5.0)
# Below `stop_grace_period` in compose/compose.yml.
LAST_ANSWERS_SECONDS = 30.0
CHECK_SECONDS = 0.2


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(
        "python -m crocbot.sandbox",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen")
    parser.add_argument("--port", default=PORT, type=int, help="0: a free one")
    parser.add_argument(
        "--old", action="store_true", help="like a server of 2024: no drafts, ..."
    )
    args = parser.parse_args(arguments)
    try:
        asyncio.run(_serve(args.host, args.port, old=args.old))
    except (OSError, OverflowError) as error:
        address = f"--host {args.host} --port {args.port}"
        parser.exit(2, f"{parser.prog}: {address}: cannot listen there: {error}\n")


async def _serve(host: str, port: int, *, old: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    terminal = Terminal(sys.stdout, os.environ, stop)
    # A gateway that outlives this sandbox has seen the ids of an earlier one.
    first_update = time.time_ns() // 1_000_000
    async with Server(
        host=host, port=port, first_update=first_update, old=old
    ) as server:
        terminal.line(f"sandbox  {server.url}  token {server.token}")
        run = SandboxRun(server, terminal, stop)
        await run.converse()
        terminal.line(json.dumps(run.summary()))


class SandboxRun:
    """The users who write to the bot, from its first poll to the stop."""

    def __init__(self, server: Server, terminal: Terminal, stop: asyncio.Event) -> None:
        self._server = server
        self._terminal = terminal
        self._stop = stop
        self._active: dict[int, SimulatedUser] = {}
        self._sent: Counter[str] = Counter()
        self._answered: Counter[str] = Counter()
        self._mistakes = 0
        server.listen(self._receive)

    async def converse(self) -> None:
        """Let users write until asked to stop, then wait for their last answers."""
        tasks = [asyncio.create_task(self._keep_writing(person)) for person in PEOPLE]
        await self._stop.wait()
        await asyncio.wait(tasks, timeout=LAST_ANSWERS_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def summary(self) -> dict[str, object]:
        """Return the counts of messages and mistakes, for the last line."""
        for person in list(self._active):
            self._end(person)
        return {
            "sent": dict(self._sent),
            "answered": dict(self._answered),
            "mistakes": self._mistakes,
        }

    async def _keep_writing(self, person: Person) -> None:
        random = Random()
        while await self._wait_for_poll():
            user = SimulatedUser(person, self._server, self._terminal)
            self._active[person.user_id] = user
            await user.converse(
                script(person, random), self._stop, random, pause_seconds=PAUSE_SECONDS
            )
            self._end(person.user_id)

    def _end(self, person: int) -> None:
        user = self._active.pop(person)
        self._sent += user.sent
        self._answered += user.answered
        self._mistakes += len(user.mistakes)
        for mistake in user.mistakes:
            self._terminal.line(f"wrong: {mistake}")

    async def _wait_for_poll(self) -> bool:
        """Return whether the bot polled before the stop."""
        before = self._server.calls["getupdates"]
        while not self._stop.is_set():
            if self._server.calls["getupdates"] > before:
                return True
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._stop.wait()
        return False

    def _receive(self, sent: Sent) -> None:
        user = self._active.get(sent["chat"]["id"])
        if user is not None:
            user.receive(shown_text(sent))


if __name__ == "__main__":
    main()
