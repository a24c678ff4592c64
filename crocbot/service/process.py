"""One process: signals, the state directory, telemetry around everything else."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from importlib.metadata import version

from crocbot import agents, inbox, log, pairing, sessions
from crocbot.botapi import Client
from crocbot.commands import MENU
from crocbot.errors import OperatorError
from crocbot.events import EventListener
from crocbot.health import Health
from crocbot.service.deadline import exit_within, leave, lingering
from crocbot.service.gateway import Gateway
from crocbot.service.greeting import greet
from crocbot.service.readiness import Readiness
from crocbot.service.stopping import Stop, unless
from crocbot.settings import Settings
from crocbot.store import Store
from crocbot.telemetry import Telemetry

VERSION = version("crocbot")
# Beyond the drain, for closing files and the last packets; then for what is left.
LATE_SECONDS = 1.5
EXIT_SECONDS = 0.5

logger = log.logger(__name__)


def main(settings: Settings) -> None:
    """Run the gateway until a signal stops it; whatever hangs, the process ends."""
    loop = asyncio.new_event_loop()
    code = 1
    try:
        loop.run_until_complete(_until_a_signal(settings))
        code = 0
    except OperatorError:
        code = 2
        raise
    finally:
        ended = _ended(loop)
        if code == 0:
            leave(code)
        if not ended:
            exit_within(EXIT_SECONDS, code)
        loop.close()


async def _until_a_signal(settings: Settings) -> None:
    stop = Stop()
    loop = asyncio.get_running_loop()

    def on_signal(*_: object) -> None:
        # Python runs this even while a careless agent blocks the event loop.
        if not stop.asked.is_set():
            exit_within(settings.drain_seconds + LATE_SECONDS, 0)
        loop.call_soon_threadsafe(stop.ask)

    before = {
        number: signal.signal(number, on_signal)
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        await run(settings, stop)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ended(loop: asyncio.AbstractEventLoop) -> bool:
    """Cancel what is left; tells whether nothing keeps Python from its exit."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        _, left = loop.run_until_complete(asyncio.wait(left, timeout=EXIT_SECONDS))
    return not left and not lingering()


async def run(settings: Settings, stop: Stop) -> None:
    """Run the gateway until asked to stop; raises OperatorError."""
    with inbox.locked(settings.state_dir):
        host, port = settings.statsd_host, settings.statsd_port
        telemetry = Telemetry(host, port, version=VERSION)
        await telemetry.start()
        try:
            await serve(settings, telemetry, stop)
        finally:
            await telemetry.stop()


async def serve(settings: Settings, events: EventListener, stop: Stop) -> None:
    """Serve one bot; the state directory is locked, events go to `events`."""
    token = settings.token.get_secret_value()
    async with AsyncExitStack() as stack:
        rows = await stack.enter_async_context(inbox.Inbox(settings.database, events))
        store = await stack.enter_async_context(
            Store(settings.database, [pairing.SCHEMA, sessions.SCHEMA])
        )
        conditions = Readiness(rows)
        await stack.enter_async_context(Health(settings.health_address, conditions.all))
        client = await stack.enter_async_context(
            Client(token, settings.telegram_api_url, events)
        )
        agent = agents.choose(settings)
        stack.push_async_callback(agent.close)
        me = await unless(stop.asked, greet(client, MENU, events, conditions.note))
        if me is not None:
            gateway = Gateway(
                settings, VERSION, me, rows, store, client, agent, conditions, events
            )
            await gateway.run(stop)
    logger.info("stopped")
