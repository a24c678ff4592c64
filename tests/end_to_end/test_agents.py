"""Every agent of docs/agents.md and docs/python-agent.md, run as it is written."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from crocbot.sandbox import Person
from crocbot.sandbox.messages import Sent
from tests.end_to_end.world import World
from tests.ports import HOST, free_port

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [DOCS / "agents.md", DOCS / "python-agent.md"]
EXAMPLE = re.compile(r"<!-- example: (\w+) ?(\S*) -->\n```\w+\n(.*?)```", re.DOTALL)
ADA = Person(1001, "Ada")


def examples() -> dict[str, dict[str, str]]:
    """Return the files of the examples by agent and name; settings have no name."""
    found: dict[str, dict[str, str]] = {}
    for page in PAGES:
        for agent, file, text in EXAMPLE.findall(page.read_text(encoding="utf-8")):
            found.setdefault(agent, {})[file] = text
    return found


def settings(text: str) -> dict[str, str]:
    """Return the variables that a block of shell sets."""
    return dict(word.split("=", 1) for word in shlex.split(text))


@asynccontextmanager
async def running(
    arguments: list[str], home: Path, port: int, **settings: str
) -> AsyncIterator[None]:
    """Run a Python program that listens on a port; wait until it does."""
    process = subprocess.Popen(  # noqa: ASYNC220 (it does not wait)
        [sys.executable, *arguments],
        cwd=home,
        env=os.environ | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await accepts(port, process)
        yield
    finally:
        process.terminate()
        process.wait()


async def accepts(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process accepts connections; fail if it ends."""
    while process.poll() is None:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            await asyncio.sleep(0.1)
            continue
        writer.close()
        await writer.wait_closed()
        return
    pytest.fail(f"{process.args!r} ended with {process.returncode}")


async def converse(
    world: World, agent: str, *messages: str, **changes: str
) -> list[str]:
    """Send messages one after the other with an example's agent; return the answers."""
    shown: dict[int, str] = {}
    world.server.listen(lambda sent: shown.update({sent["message_id"]: sent["text"]}))
    chosen = settings(examples()[agent][""]) | changes
    await world.start_gateway(**chosen, CROCBOT_STATSD_HOST="off")
    waiting = list(messages)
    while waiting:
        world.server.send(ADA, waiting.pop(0))
        await world.eventually(lambda: len(shown) == len(messages) - len(waiting))
        await world.eventually(lambda: not world.server.pending)
    return list(shown.values())


def test_every_agent_has_an_example() -> None:
    """The pages show a complete example of each agent."""
    agents = {agent for agent, files in examples().items() if "" in files}
    assert agents == {"echo", "http", "openai", "command", "python", "fallback"}


async def test_echo(world: World) -> None:
    """The echo answers with the same text."""
    assert await converse(world, "echo", "*hello*") == ["*hello*"]


async def test_http(world: World, tmp_path: Path) -> None:
    """The service of the example answers, and gets the history of the chat."""
    port = free_port()
    source = examples()["http"]["agent.py"].replace("8080", str(port))
    (tmp_path / "agent.py").write_text(source)
    url = settings(examples()["http"][""])["CROCBOT_AGENT_URL"]
    url = url.replace("8080", str(port))
    async with running(["agent.py"], tmp_path, port):
        answers = await converse(
            world, "http", "hello", "and again", CROCBOT_AGENT_URL=url
        )

    assert answers == ["1. You said: hello", "2. You said: and again"]


async def test_openai(world: World, tmp_path: Path) -> None:
    """The independent server of the example answers."""
    pytest.importorskip("mockllm", reason="mockllm is not installed")
    port = free_port()
    (tmp_path / "responses.yml").write_text(examples()["openai"]["responses.yml"])
    url = settings(examples()["openai"][""])["OPENAI_BASE_URL"]
    url = url.replace("8000", str(port))
    command = ["-m", "uvicorn", "mockllm.server:app", "--host", HOST, f"--port={port}"]
    async with running(command, tmp_path, port, MOCKLLM_RESPONSES_FILE="responses.yml"):
        answers = await converse(
            world, "openai", "Who are you?", "Why?", OPENAI_BASE_URL=url
        )

    assert answers == ["I am a crocodile.", "I do not know."]


async def test_command(world: World, tmp_path: Path) -> None:
    """The program of the example answers."""
    program = tmp_path / "answer.py"
    program.write_text(examples()["command"]["answer.py"])
    command = settings(examples()["command"][""])["CROCBOT_AGENT_COMMAND"]
    command = command.replace("python3", sys.executable)
    command = command.replace("answer.py", str(program))
    answers = await converse(
        world, "command", "one two three", CROCBOT_AGENT_COMMAND=command
    )

    assert answers == ["3 words from 1001."]


async def test_python(world: World, tmp_path: Path) -> None:
    """The function of the example answers, and gets the history of the chat."""
    (tmp_path / "agent.py").write_text(examples()["python"]["agent.py"])
    answers = await converse(
        world, "python", "hello", "and again", PYTHONPATH=f"{tmp_path}:{DOCS.parent}"
    )

    assert answers == ["1. You said: hello", "2. You said: and again"]


async def test_python_pieces(world: World, tmp_path: Path) -> None:
    """Its files and buttons are sent, and a pressed button asks it again."""
    (tmp_path / "agent.py").write_text(examples()["pieces"]["agent.py"])
    sent: list[Sent] = []
    world.server.listen(sent.append)
    await world.start_gateway(
        **settings(examples()["python"][""]),
        CROCBOT_STATSD_HOST="off",
        PYTHONPATH=f"{tmp_path}:{DOCS.parent}",
    )
    world.server.send(ADA, "hello")
    await world.eventually(lambda: len(sent) == 2)
    text, file = sent
    markup = text["reply_markup"]["inline_keyboard"]
    world.server.press(ADA, text, markup[0][1]["callback_data"])
    await world.eventually(lambda: len(sent) == 3)

    assert text["text"] == "Here is the list. Which size?"
    assert [button["text"] for button in markup[0]] == ["Small", "Large"]
    assert file["document"]["file_name"] == "sizes.txt"
    assert file["caption"] == "all sizes"
    assert sent[2]["text"] == "You chose L."
