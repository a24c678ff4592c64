"""The token, looked for in everything that the gateway prints when all goes wrong."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from crocbot import log, service, settings
from crocbot.botapi import Client, poller
from crocbot.errors import OperatorError
from crocbot.model import Outcome
from crocbot.sandbox import Person, Server, faults
from crocbot.sandbox.faults import Answer, Drop
from crocbot.service import startup
from tests.crocbot.fakes import RecordedEvents

TOKEN = "4242424242:AAthis-is-very-secret-indeed-000000000"
SECRET = "very-secret"


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Leave logging as it was found."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.mark.parametrize("style", ["console", "json"])
def test_no_output_shows_the_token(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    style: str,
) -> None:
    """At debug, with every error forced, nothing shows it, even without redaction."""
    for module in (startup, poller):
        monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.01)
    stream = io.StringIO()
    log.configure("debug", style, stream=stream)
    asyncio.run(asyncio.wait_for(misery(tmp_path), 60))
    captured = capfd.readouterr()
    output = stream.getvalue() + captured.out + captured.err

    assert "poll failed" in output
    assert "getUpdates" in output
    assert SECRET not in output


async def misery(folder: Path) -> None:
    """Run a gateway through every kind of fault to its end."""
    events = RecordedEvents()

    async with Server(TOKEN) as server:
        page = Answer(502, f"<html>no /bot{TOKEN}/getUpdates here", "text/html")
        for fault in (page, Drop(), faults.garbage(), faults.other_poller()):
            server.fault("getUpdates", fault)
        server.fault("getMe", page)
        server.fault("sendMessage", page)
        server.fault("setMyCommands", faults.api_error(400, f"Bad Request: {TOKEN}"))
        environment = {
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "CROCBOT_TELEGRAM_API_URL": server.url,
            "CROCBOT_STATE_DIR": str(folder),
            "CROCBOT_ALLOW_FROM": "7",
            "CROCBOT_HEALTH_ADDRESS": "off",
        }
        loaded, _ = settings.load(environment, None)
        log.logger(__name__).info("settings", all=repr(loaded))
        running = asyncio.create_task(service.serve(loaded, events, service.Shutdown()))
        server.send(Person(7, "Ada"), "hello")
        await events.wait_for(Outcome)
        server.fault("getUpdates", faults.unauthorized(), times=2)
        with pytest.raises(OperatorError) as refused:
            await running
        log.logger(__name__).error("refused", exc_info=refused.value)
        print(repr(refused.value), file=sys.stderr)


def test_the_bot_does_not_know_it() -> None:
    """Nothing that python-telegram-bot holds has the token in its words."""
    client = Client(TOKEN, "http://127.0.0.1:1")
    bot = client._bot
    words = [repr(bot), bot.token, bot.base_url, bot.base_file_url, repr(bot.requests)]

    assert [word for word in words if SECRET in word] == []
