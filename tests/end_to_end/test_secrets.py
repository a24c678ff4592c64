"""
No output of the gateway contains a secret, while everything fails.

The gateway runs at log level debug, by polling and by webhook, with an agent that needs
a key and fails; Telegram and the agent quote the secrets in their errors.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from crocbot.sandbox import Person, faults
from crocbot.sandbox.faults import Answer, Drop
from tests.end_to_end.world import World
from tests.ports import HOST, free_port

ADA = Person(7, "Ada")
API_KEY = "sk-key-that-must-stay-secret-0123456789"
AGENT_SECRET = "agent-secret-that-must-stay-secret"
WEBHOOK_SECRET = "webhook-secret-that-must-stay-secret"


@pytest.mark.parametrize(
    ("mode", "style"), [("polling", "console"), ("webhook", "json")]
)
async def test_no_output_has_a_secret(world: World, mode: str, style: str) -> None:
    """No log, file, page, metric or reply shows the token or a key."""
    async with quoting_model() as model:
        replies: list[str] = []
        world.server.listen(lambda sent: replies.append(sent["text"]))
        await world.start_bridge()
        token = world.server.token
        page = Answer(502, f"<html>no /bot{token}/x here", "text/html")
        refused = faults.api_error(400, f"Bad Request: {token} {API_KEY}")
        world.server.fault("getMe", page)
        world.server.fault("setMyCommands", refused)
        for fault in (page, Drop(), faults.other_poller(), faults.garbage()):
            world.server.fault("getUpdates", fault)
        world.server.fault("setWebhook", page)
        world.server.fault("sendMessage", page)
        chosen = world.settings() | settings(world, model, mode, style)
        gateway = await world.start("crocbot", "gateway", **chosen)
        await world.eventually(lambda: readable(world.health_url))
        world.server.send(ADA, "hello")
        await world.eventually(lambda: replies)
        world.server.fault("sendMessage", refused)
        world.server.send(ADA, "once more")
        await world.eventually(
            lambda: "Telegram refused the call" in gateway.output.read_text()
        )
        pages = [await world.text(), await readable(world.health_url)]
        world.server.fault("getUpdates", faults.unauthorized(), times=9)
        world.server.fault("getWebhookInfo", faults.unauthorized(), times=9)
        if mode == "polling":
            assert await gateway.process.wait() == 2
        else:
            assert await gateway.stop() == 0

        log = gateway.output.read_text()
        assert "debug" in log
        files = b"".join(map(read, (world.home / "state").iterdir()))
        seen = "\n".join([log, *pages, *replies, files.decode(errors="replace")])
        halves = [token.partition(":")[2], token]
        secrets = [API_KEY, AGENT_SECRET, WEBHOOK_SECRET, *halves]
        found = [secret for secret in secrets if secret in seen]
        assert found == []


def settings(world: World, model: str, mode: str, style: str) -> dict[str, str]:
    """Return settings with a secret wherever there can be one."""
    chosen = {
        "CROCBOT_LOG_LEVEL": "debug",
        "CROCBOT_LOG_FORMAT": style,
        "CROCBOT_AGENT": "openai",
        "CROCBOT_MODEL": "quoting",
        "OPENAI_BASE_URL": model,
        "OPENAI_API_KEY": API_KEY,
        "CROCBOT_AGENT_SECRET": AGENT_SECRET,
        "CROCBOT_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    if mode == "webhook":
        port = free_port()
        chosen["CROCBOT_WEBHOOK_URL"] = f"http://{HOST}:{port}"
        chosen["CROCBOT_WEBHOOK_LISTEN"] = f"{HOST}:{port}"
    return chosen


@asynccontextmanager
async def quoting_model() -> AsyncIterator[str]:
    """Run a model server that answers with an error that quotes the request."""

    async def answer(request: web.Request) -> web.Response:
        words = {"error": {"message": f"no: {dict(request.headers)}"}}
        return web.json_response(words, status=401)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    try:
        yield f"http://{HOST}:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


async def readable(health_url: str) -> str:
    """Return the page of /readyz; empty while there is none."""
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{health_url}/readyz") as answer,
        ):
            return await answer.text()
    except aiohttp.ClientError:
        return ""


def read(file: Path) -> bytes:
    """Return the content of a file."""
    return file.read_bytes()
