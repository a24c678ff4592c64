"""Every agent of docs/agents.md, run as it is written there, by a real gateway."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crocbot.sandbox import Person
from tests.ports import HOST, free_port

PAGE = Path(__file__).parents[2] / "docs" / "agents.md"
EXAMPLE = re.compile(r"<!-- example: (\w+) ?(\S*) -->\n```\w+\n(.*?)```", re.DOTALL)
ADA = Person(1001, "Ada")


def examples() -> dict[str, dict[str, str]]:
    """By agent: the files of its example, and the settings under no name."""
    found: dict[str, dict[str, str]] = {}
    for agent, file, text in EXAMPLE.findall(PAGE.read_text(encoding="utf-8")):
        found.setdefault(agent, {})[file] = text
    return found


def settings(text: str) -> dict[str, str]:
    """The variables of a block of shell."""
    return dict(word.split("=", 1) for word in shlex.split(text))


@contextmanager
def running(
    arguments: list[str], home: Path, port: str, **settings: str
) -> Iterator[None]:
    """Run what answers at a port, as long as the test needs it."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=home,
        env=os.environ | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        asyncio.run(listens(int(port), process))
        yield
    finally:
        process.terminate()
        process.wait()


async def listens(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until somebody listens at a port."""
    while process.poll() is None:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            await asyncio.sleep(0.1)
            continue
        writer.close()
        await writer.wait_closed()
        return
    pytest.fail(f"{process.args} ended with {process.returncode}")


def converse(world, home: Path, agent: str, *words: str, **changes: str) -> list[str]:
    """Say these words one after the other; returns what is answered."""
    answers: list[str] = []

    async def scene() -> None:
        async with world() as w:
            shown: dict[int, str] = {}
            w.server.listen(lambda one: shown.update({one["message_id"]: one["text"]}))
            chosen = settings(examples()[agent][""]) | changes
            await w.start_gateway(**chosen, CROCBOT_STATSD_HOST="off")
            for number, word in enumerate(words, start=1):
                w.server.send(ADA, word)
                await w.eventually(lambda n=number: len(shown) == n)
                await w.eventually(lambda: not w.server.pending)
            answers.extend(shown.values())

    asyncio.run(scene())
    return answers


def test_every_agent_has_an_example() -> None:
    """The page shows a complete example of each agent."""
    assert set(examples()) == {"echo", "http", "openai", "command"}
    assert all("" in files for files in examples().values())


def test_echo(world, tmp_path) -> None:
    """The echo answers the same text."""
    assert converse(world, tmp_path, "echo", "*hello*") == ["*hello*"]


def test_http(world, tmp_path) -> None:
    """The service of the example answers, and is told what was said before."""
    port = str(free_port())
    source = examples()["http"]["agent.py"].replace("8080", port)
    (tmp_path / "agent.py").write_text(source)
    url = settings(examples()["http"][""])["CROCBOT_AGENT_URL"]
    with running(["agent.py"], tmp_path, port):
        answers = converse(
            world,
            tmp_path,
            "http",
            "hello",
            "and again",
            CROCBOT_AGENT_URL=url.replace("8080", port),
        )

    assert answers == ["1. You said: hello", "2. You said: and again"]


def test_openai(world, tmp_path) -> None:
    """The independent server of the example answers."""
    pytest.importorskip("mockllm", reason="mockllm is not installed")
    port = str(free_port())
    (tmp_path / "responses.yml").write_text(examples()["openai"]["responses.yml"])
    url = settings(examples()["openai"][""])["OPENAI_BASE_URL"]
    command = ["-m", "uvicorn", "mockllm.server:app", "--host", HOST, "--port", port]
    with running(command, tmp_path, port, MOCKLLM_RESPONSES_FILE="responses.yml"):
        answers = converse(
            world,
            tmp_path,
            "openai",
            "Who are you?",
            "Why?",
            OPENAI_BASE_URL=url.replace("8000", port),
        )

    assert answers == ["I am a crocodile.", "I do not know."]


def test_command(world, tmp_path) -> None:
    """The program of the example answers."""
    program = tmp_path / "answer.py"
    program.write_text(examples()["command"]["answer.py"])
    command = settings(examples()["command"][""])["CROCBOT_AGENT_COMMAND"]
    command = command.replace("python3", sys.executable)
    answers = converse(
        world,
        tmp_path,
        "command",
        "one two three",
        CROCBOT_AGENT_COMMAND=command.replace("answer.py", str(program)),
    )

    assert answers == ["3 words from 1001."]
