"""
The sandbox alone, for a gateway that runs elsewhere: `python -m crocbot.sandbox`.

    people --> server <-- Bot API over HTTP -- a gateway, once it polls

People write as soon as a bot polls; who gets no answer gives up, and comes back when
it polls again.  At SIGTERM they fall silent, wait a little for their answers, and the
last line tells as JSON what was written, what was answered and what was wrong.
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
from crocbot.sandbox.server import Server
from crocbot.sandbox.terminal import Terminal
from crocbot.sandbox.users import PEOPLE, SimulatedUser, script

PORT = 8081
THOUGHT = (0.5, 5.0)
LAST_ANSWERS_SECONDS = 5.0
LOOK_EVERY = 0.2


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(
        "python -m crocbot.sandbox",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen")
    parser.add_argument("--port", default=PORT, type=int, help="0: a free one")
    given = parser.parse_args(arguments)
    try:
        asyncio.run(_serve(given.host, given.port))
    except (OSError, OverflowError) as error:
        place = f"--host {given.host} --port {given.port}"
        parser.exit(2, f"{parser.prog}: {place}: cannot listen there: {error}\n")


async def _serve(host: str, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    screen = Terminal(sys.stdout, os.environ, stop.set)
    # A gateway that outlives us has seen the ids of an earlier sandbox.
    first_update = time.time_ns() // 1_000_000
    async with Server(host=host, port=port, first_update=first_update) as server:
        screen.line(f"sandbox  {server.url}  token {server.token}")
        town = SandboxRun(server, screen, stop)
        await town.live()
        screen.line(json.dumps(town.verdict()))


class SandboxRun:
    """Everybody who writes to the bot, from the first poll to the stop."""

    def __init__(self, server: Server, screen: Terminal, stop: asyncio.Event) -> None:
        self._server = server
        self._screen = screen
        self._stop = stop
        self._present: dict[int, SimulatedUser] = {}
        self._sent: Counter[str] = Counter()
        self._answered: Counter[str] = Counter()
        self._mistakes = 0
        server.listen(self._hear)

    async def live(self) -> None:
        """Let people come and go until asked to stop, then wait for last answers."""
        people = [asyncio.create_task(self._visit(person)) for person in PEOPLE]
        await self._stop.wait()
        await asyncio.wait(people, timeout=LAST_ANSWERS_SECONDS)
        for person in people:
            person.cancel()
        await asyncio.gather(*people, return_exceptions=True)

    def verdict(self) -> dict[str, object]:
        """Tell what was written, answered and wrong."""
        for person in list(self._present):
            self._leave(person)
        return {
            "sent": dict(self._sent),
            "answered": dict(self._answered),
            "mistakes": self._mistakes,
        }

    async def _visit(self, person: Person) -> None:
        random = Random()
        while await self._polled():
            talker = SimulatedUser(person, self._server.send, self._screen.overhear)
            self._present[person.user_id] = talker
            await talker.converse(script(person, random), self._stop, random, THOUGHT)
            self._leave(person.user_id)

    def _leave(self, person: int) -> None:
        talker = self._present.pop(person)
        self._sent += talker.sent
        self._answered += talker.answered
        self._mistakes += len(talker.mistakes)
        for mistake in talker.mistakes:
            self._screen.line(f"wrong: {mistake}")

    async def _polled(self) -> bool:
        """Wait for a poll; tells whether there was one before the stop."""
        before = self._server.calls["getupdates"]
        while not self._stop.is_set():
            if self._server.calls["getupdates"] > before:
                return True
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), LOOK_EVERY)
        return False

    def _hear(self, sent: Sent) -> None:
        talker = self._present.get(sent["chat"]["id"])
        if talker is not None:
            talker.receive(sent["text"])


if __name__ == "__main__":
    main()
