"""The sandbox as a program of its own."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from io import StringIO

import aiohttp
import pytest

from crocbot.sandbox import Server
from crocbot.sandbox.__main__ import SandboxRun, main
from crocbot.sandbox.terminal import Terminal


async def echo(server: Server, session, offset: int = 0) -> int:
    """Poll once and say the same words again; returns the next offset."""
    url = f"{server.url}/bot{server.token}"
    parameters = {"timeout": 1, "offset": offset}
    async with session.post(f"{url}/getUpdates", json=parameters) as answer:
        updates = (await answer.json())["result"]
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


def test_people_write_once_a_bot_polls_and_the_verdict_tells_of_it() -> None:
    """Before there is a poll nobody says a word; everything said is in the verdict."""

    async def scene() -> None:

        stop, out = asyncio.Event(), StringIO()
        async with Server() as server, aiohttp.ClientSession() as session:
            town = SandboxRun(server, Terminal(out, {}, stop.set), stop)
            living = asyncio.create_task(town.live())
            await asyncio.sleep(0)
            assert server.pending == 0

            offset = await echo(server, session)
            for _ in range(3):
                offset = await echo(server, session, offset)
            stop.set()
            while not living.done():
                offset = await echo(server, session, offset)
            await living

            verdict = json.loads(json.dumps(town.verdict()))
            assert verdict["sent"] == verdict["answered"]
            assert sum(verdict["sent"].values()) >= 5
            # Only the word for a command is wrong: this bot is no gateway.
            assert verdict["mistakes"] == out.getvalue().count("wrong: ")

    asyncio.run(scene())


def test_update_ids_can_begin_anywhere() -> None:
    """A later sandbox does not repeat the ids of an earlier one."""

    async def scene() -> None:
        async with Server(first_update=1_800_000_000_000) as server:
            assert server.push({}) == 1_800_000_000_000

    asyncio.run(scene())


def test_it_runs_as_a_program(tmp_path) -> None:
    """`python -m crocbot.sandbox` serves until SIGTERM and ends with its verdict."""

    async def scene() -> None:
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

    asyncio.run(scene())


@pytest.mark.parametrize("port", [None, 99999])
def test_a_port_that_cannot_be_had_is_one_line(
    port: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A port that is taken, or is none, ends it with exit code 2 and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        asked = port or taken.getsockname()[1]
        with pytest.raises(SystemExit) as end:
            main(["--port", str(asked)])

    said = capsys.readouterr().err
    assert end.value.code == 2
    assert f"--port {asked}: cannot listen there: " in said
    assert said.count("\n") == 1
