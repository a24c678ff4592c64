"""
The longest pause of an event loop that records 1,000 messages a second.

    python -m benchmarks.telemetry.loop --client ours --host 127.0.0.1 --port 9125 ...

A task sleeps one millisecond at a time; the pause is how late it wakes.  Prints the
longest in milliseconds.  Where the system permits it the loop has real-time priority,
so that other programs do not affect it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Callable

from statsd import StatsClient

from crocbot.events import AgentCall, ApiCall, CallOutcome, FirstText, Method
from crocbot.model import Disposition, HostPort, MessageType, Outcome
from crocbot.telemetry import Telemetry

TICK = 0.001
BURST = 10
"""Messages each ten ticks."""

EVENTS = (
    ApiCall(Method.SEND_MESSAGE, CallOutcome.OK, 0.05),
    AgentCall(seconds=0.5, first_token_seconds=0.1, input_tokens=100, output_tokens=20),
    FirstText(0.2),
    Outcome(Disposition.ANSWERED, message_type=MessageType.TEXT, seconds=0.6),
)
"""Ten metrics: nine of the events and one counter more."""


async def ours(host: str, port: int) -> Callable[[], None]:
    """Return a function that reports a message through the gateway's telemetry."""
    telemetry = Telemetry(HostPort(host, port), version="0.0.0")
    await telemetry.start()

    def message() -> None:
        for event in EVENTS:
            telemetry.observer.emit(event)

    return message


async def plain(host: str, port: int) -> Callable[[], None]:
    """Return a function that reports a message through the plain client."""
    client = StatsClient(host, port)

    def message() -> None:
        for number in range(6):
            client.incr(f"a.counter.{number}")
        for number in range(3):
            client.timing(f"a.timer.{number}", 250)
        client.gauge("a.gauge", 7)

    return message


async def nothing(host: str, port: int) -> Callable[[], None]:
    """Return a function that reports nothing: the pauses of the machine itself."""
    return lambda: None


CLIENTS = {"ours": ours, "plain": plain, "nothing": nothing}


async def measure(client: str, host: str, port: int, seconds: float) -> float:
    """Return the longest pause of a run, in seconds."""
    worst = 0.0

    async def tick() -> None:
        nonlocal worst
        while True:
            due = time.monotonic() + TICK
            await asyncio.sleep(TICK)
            worst = max(worst, time.monotonic() - due)

    async def report() -> None:
        message = await CLIENTS[client](host, port)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in range(BURST):
                message()
            await asyncio.sleep(BURST * TICK)

    ticking = asyncio.create_task(tick())
    # The pauses of imports and first calls do not count.
    await asyncio.sleep(0.2)
    worst = 0.0
    try:
        await report()
    except OSError:
        # The name cannot be resolved; the pause of that is measured.
        await asyncio.sleep(10 * TICK)
    ticking.cancel()
    return worst


def main() -> None:
    """Measure one run and print its longest pause."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--client", choices=CLIENTS, required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args()
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except (OSError, AttributeError):
        pass
    worst = asyncio.run(measure(args.client, args.host, args.port, args.seconds))
    print(f"{1000 * worst:.3f}")


if __name__ == "__main__":
    main()
