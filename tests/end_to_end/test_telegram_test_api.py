"""
The gateway and an independent Bot API: telegram-test-api from the npm registry.

Mistakes of the project's sandbox would be invisible in tests with it.  What the package
lacks is in front of it in `telegram_test_api.js`.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from crocbot.sandbox import children
from tests.end_to_end.world import World
from tests.ports import HOST, free_port

VERSION = "4.2.1"
SHIM = Path(__file__).with_name("telegram_test_api.js")
TOKEN = "4242424242:AAsomebody-elses-idea-of-a-token000"
CHATS = 4
EACH = 25


@pytest.fixture(scope="session")
def node_path() -> str:
    """Return the folder in which Node finds the package; skip without it."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing: Debian has it in the package {program}")
    folder = Path(tempfile.gettempdir()) / f"crocbot-telegram-test-api-{VERSION}"
    # One at a time: the workers of pytest share the folder.
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        install(folder)
    return str(folder / "node_modules")


def install(folder: Path) -> None:
    """Install the package in a folder, unless it is there; skip if that fails."""
    done = folder / "done"
    if done.exists():
        return
    folder.mkdir(exist_ok=True)
    npm = subprocess.run(
        [
            *("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"),
            *("--prefix", folder, f"telegram-test-api@{VERSION}"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if npm.returncode:
        shutil.rmtree(folder)
        why = npm.stderr.strip().splitlines()[-1:]
        pytest.skip(f"npm could not install telegram-test-api: {why}")
    done.touch()


class Emulator:
    """The emulator and its users."""

    def __init__(self, url: str, web: aiohttp.ClientSession) -> None:
        self.url = url
        self._web = web

    async def write(self, chat: int, text: str) -> None:
        """Send a message from a user; a slash makes it a command."""
        user = {"id": chat, "first_name": "Ada", "is_bot": False}
        message: dict[str, Any] = {
            "botToken": TOKEN,
            "date": 1_700_000_000,
            "from": user,
            "chat": {"id": chat, "type": "private", "first_name": "Ada"},
            "text": text,
        }
        method = "sendMessage"
        if text.startswith("/"):
            method = "sendCommand"
            command = {"type": "bot_command", "offset": 0, "length": len(text)}
            message["entities"] = [command]
        await self._post(method, message)

    async def answers(self) -> dict[int, list[str]]:
        """Return the bot's messages by chat, in order."""
        history = await self._post("getUpdatesHistory", {"token": TOKEN})
        told = defaultdict(list)
        for message in (one["message"] for one in history["result"]):
            # The messages of users have a chat instead.
            if "chat_id" in message:
                told[int(message["chat_id"])].append(message["text"])
        return told

    async def _post(self, path: str, body: Any) -> Any:
        async with self._web.post(f"{self.url}/{path}", json=body) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()


@asynccontextmanager
async def emulator(node_path: str) -> AsyncIterator[Emulator]:
    """Run the emulator."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *("node", str(SHIM), str(port)),
        env={**os.environ, "NODE_PATH": node_path},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"listening\n"
        async with aiohttp.ClientSession() as web:
            yield Emulator(f"http://{HOST}:{port}", web)
    finally:
        process.kill()
        await process.communicate()


@pytest.mark.parametrize("mode", ["polling", "webhook"])
async def test_a_conversation(world: World, node_path: str, mode: str) -> None:
    """All users are answered in order, by polling and by webhook."""
    async with emulator(node_path) as telegram:
        settings = {
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "CROCBOT_TELEGRAM_API_URL": telegram.url,
        }
        if mode == "webhook":
            port = free_port()
            settings["CROCBOT_WEBHOOK_URL"] = f"http://{HOST}:{port}"
            settings["CROCBOT_WEBHOOK_LISTEN"] = f"{HOST}:{port}"
        settings = {**world.settings(), **settings}
        gateway = await world.start("crocbot", "gateway", **settings)
        await children.while_alive(
            world.eventually(lambda: ready(world.health_url)), gateway
        )

        for number in range(EACH):
            for chat in range(1, CHATS + 1):
                await telegram.write(chat, f"message {number}")
        for chat in range(1, CHATS + 1):
            await telegram.write(chat, "/whoami")

        async def all_answered() -> bool:
            answers = await telegram.answers()
            return sum(map(len, answers.values())) == CHATS * (EACH + 1)

        await world.eventually(all_answered)
        for chat, texts in (await telegram.answers()).items():
            assert texts[:-1] == [f"message {number}" for number in range(EACH)]
            assert texts[-1] == f"user id: {chat}\nchat id: {chat}"
        log = gateway.output.read_text()
        assert "poll failed" not in log
        assert "menu of commands was not set" not in log
        assert await gateway.stop() == 0


async def ready(health_url: str) -> bool:
    """Return whether the gateway is ready."""
    try:
        async with (
            aiohttp.ClientSession() as web,
            web.get(f"{health_url}/readyz") as answer,
        ):
            return answer.status == 200
    except aiohttp.ClientError:
        return False
