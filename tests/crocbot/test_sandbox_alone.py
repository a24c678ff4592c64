"""The sandbox as a program of its own."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from io import StringIO
from typing import Any

import aiohttp
import pytest

from crocbot.sandbox import Server
from crocbot.sandbox.__main__ import SandboxRun, main
from crocbot.sandbox.terminal import Terminal


async def echo(server: Server, session: aiohttp.ClientSession, offset: int = 0) -> int:
    """Poll once and answer with the same texts; return the next offset."""
    url = f"{server.url}/bot{server.token}"
    parameters = {"timeout": 1, "offset": offset}
    async with session.post(f"{url}/getUpdates", json=parameters) as answer:
        updates: list[Any] = (await answer.json())["result"]
    for update in updates:
        offset = update["update_id"] + 1
        message = update["message"]
        reply = {
            "chat_id": message["chat"]["id"],
            "text": message.get("text") or message.get("caption") or "a sticker",
        }
        async with session.post(f"{url}/sendMessage", json=reply) as answer:
            assert answer.status == 200
    return offset


async def test_users_write_once_a_bot_polls() -> None:
    """Before the first poll no message is sent; all are in the summary."""
    stop, out = asyncio.Event(), StringIO()
    async with Server() as server, aiohttp.ClientSession() as session:
        run = SandboxRun(server, Terminal(out, {}, stop), stop)
        task = asyncio.create_task(run.converse())
        await asyncio.sleep(0)
        assert server.pending == 0

        offset = await echo(server, session)
        for _ in range(3):
            offset = await echo(server, session, offset)
        stop.set()
        while not task.done():
            offset = await echo(server, session, offset)
        await task
        summary = json.loads(json.dumps(run.summary()))

    assert summary["sent"] == summary["answered"]
    assert sum(summary["sent"].values()) >= 5
    # Only the answers to commands are wrong: this bot is no gateway.
    assert summary["mistakes"] == out.getvalue().count("wrong: ")


async def test_update_ids_begin_where_asked() -> None:
    """A later sandbox does not repeat the ids of an earlier one."""
    async with Server(first_update=1_800_000_000_000) as server:
        assert server.push({}) == 1_800_000_000_000


async def test_it_runs_as_a_program() -> None:
    """`python -m crocbot.sandbox` serves until SIGTERM and ends with its summary."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "crocbot.sandbox", "--port=0"),
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    first = await process.stdout.readline()
    process.terminate()
    rest = await process.stdout.read()

    assert await process.wait() == 0
    assert first.startswith(b"sandbox  http://127.0.0.1:")
    assert json.loads(rest) == {"sent": {}, "answered": {}, "mistakes": 0}


@pytest.mark.parametrize("port", [None, 99999])
def test_a_port_that_cannot_be_used_is_one_line(
    port: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A port in use, or beyond the range, is exit code 2 without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        tried = port or taken.getsockname()[1]
        with pytest.raises(SystemExit) as end:
            main(["--port", str(tried)])
    errors = capsys.readouterr().err

    assert end.value.code == 2
    assert f"--port {tried}: cannot listen there: " in errors
    assert errors.count("\n") == 1
