"""No output of the gateway contains the token, even while everything fails."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
import telegram

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


@pytest.mark.parametrize("format", ["console", "json"])
async def test_no_output_shows_the_token(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    format: str,
) -> None:
    """At debug, with every fault there is, nothing shows it, even without redaction."""
    for module in (startup, poller):
        monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.01)
    stream = io.StringIO()
    log.configure("debug", format, stream=stream)
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
            "CROCBOT_STATE_DIR": str(tmp_path),
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
    output = "".join([stream.getvalue(), repr(refused.value), *capfd.readouterr()])

    assert "poll failed" in output
    assert "getUpdates" in output
    assert SECRET not in output


def test_the_bot_has_no_token() -> None:
    """No object of python-telegram-bot contains the token."""
    held = vars(Client(TOKEN, "http://127.0.0.1:1")).values()
    (bot,) = (one for one in held if isinstance(one, telegram.Bot))
    texts = [repr(bot), bot.token, bot.base_url, bot.base_file_url]

    assert [text for text in texts if SECRET in text] == []
