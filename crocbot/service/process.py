"""One process: signals, the state directory, telemetry around everything else."""

from __future__ import annotations

import asyncio
import signal
from importlib.metadata import version

from crocbot import inbox, log
from crocbot.botapi import Client
from crocbot.commands import MENU
from crocbot.facts import Report
from crocbot.model import Identity
from crocbot.service.gateway import Gateway
from crocbot.service.greeting import greet
from crocbot.service.stopping import Stop, unless
from crocbot.settings import Settings
from crocbot.telemetry import Telemetry

VERSION = version("crocbot")

logger = log.logger(__name__)


async def main(settings: Settings) -> None:
    """Run the gateway until a signal stops it."""
    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.ask)
    await run(settings, stop)


async def check(settings: Settings) -> Identity:
    """Ask Telegram once who we are; changes nothing anywhere."""
    token = settings.token.get_secret_value()
    async with Client(token, settings.telegram_api_url) as client:
        return await client.get_me()


async def run(settings: Settings, stop: Stop) -> None:
    """Run the gateway until asked to stop; raises OperatorError."""
    with inbox.locked(settings.state_dir):
        host, port = settings.statsd_host, settings.statsd_port
        telemetry = Telemetry(host, port, version=VERSION)
        await telemetry.start()
        try:
            await serve(settings, telemetry.report, stop)
        finally:
            await telemetry.stop()


async def serve(settings: Settings, report: Report, stop: Stop) -> None:
    """Serve one bot; the state directory is locked, facts go to `report`."""
    token = settings.token.get_secret_value()
    async with (
        inbox.Inbox(settings.database) as rows,
        Client(token, settings.telegram_api_url) as client,
    ):
        me = await unless(stop.asked, greet(client, MENU, report))
        if me is not None:
            await Gateway(settings, VERSION, me, rows, client, report).run(stop)
    logger.info("stopped")
