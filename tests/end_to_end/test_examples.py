"""Each folder of examples/, run as its README says."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from crocbot.agents.http import HttpAgent, request_payload
from crocbot.errors import AgentError
from crocbot.model import Prompt
from crocbot.sandbox.children import clean_environment
from crocbot.turn_outcomes import AgentErrorReason
from tests.crocbot.fakes import a_message
from tests.ports import HOST, free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
SECRET = "change-me"
TIMEOUT_SECONDS = 90
PYTHON = {"CROCBOT_AGENT": "python", "CROCBOT_AGENT_FUNCTION": "agent:answer"}


async def chat(
    folder: str, lines: Sequence[str], settings: Mapping[str, str], home: Path
) -> list[str]:
    """Let `crocbot chat` answer lines in the folder of an example."""
    own = {"HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crocbot", "chat", "--files", str(home / "files")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=EXAMPLES / folder,
        env={**clean_environment(os.environ), **own, **settings},
    )
    text = "".join(f"{line}\n" for line in lines).encode()
    output, errors = await asyncio.wait_for(process.communicate(text), TIMEOUT_SECONDS)
    assert process.returncode == 0, errors.decode()
    return output.decode().splitlines()


@asynccontextmanager
async def service(
    folder: str, *command: str, port: int, **settings: str
) -> AsyncIterator[str]:
    """Run the service of an example; yield its URL once it accepts connections."""
    process = subprocess.Popen(  # noqa: ASYNC220 (it does not wait)
        command,
        cwd=EXAMPLES / folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while process.poll() is None:
                try:
                    _, writer = await asyncio.open_connection(HOST, port)
                    break
                except OSError:
                    await asyncio.sleep(0.1)
        assert process.poll() is None, f"{command} ended with {process.returncode}"
        writer.close()
        yield f"http://{HOST}:{port}/"
    finally:
        process.terminate()
        process.wait()


def http(url: str) -> dict[str, str]:
    """Return the settings of the agent `http`."""
    return {
        "CROCBOT_AGENT": "http",
        "CROCBOT_AGENT_URL": url,
        "CROCBOT_AGENT_SECRET": SECRET,
    }


def test_the_readme_names_each_example() -> None:
    """Each folder has a row."""
    rows = re.findall(r"^\| \[(\w+)\]", (EXAMPLES / "README.md").read_text(), re.M)

    assert sorted(rows) == sorted(
        each.name for each in EXAMPLES.iterdir() if each.is_dir()
    )


async def test_echo(tmp_path: Path) -> None:
    """The words come back."""
    assert await chat("echo", ["hello there"], PYTHON, tmp_path) == ["hello there"]


async def test_buttons(tmp_path: Path) -> None:
    """A pressed button brings the file of its month."""
    lines = await chat("buttons", ["hello", "/press 2"], PYTHON, tmp_path)

    assert lines[:4] == [
        *("Which month?", "[1] May", "[2] June", "[3] About https://example.org/"),
    ]
    assert lines[4] == "June: 46 cups"
    assert lines[5:] == [f"[document {tmp_path}/files/1-june.csv]", "all of them"]
    assert b"coffee,21" in (tmp_path / "files" / "1-june.csv").read_bytes()


async def test_pydantic_ai(tmp_path: Path) -> None:
    """An agent with a tool streams; its tokens are counted, its history is read."""
    if find_spec("pydantic_ai") is None:
        pytest.skip("pydantic-ai-slim is not installed")
    settings = {**PYTHON, "MODEL": "test"}
    lines = await chat("pydantic_ai", ["hello", "again", "/usage"], settings, tmp_path)

    assert "95 million years" in lines[0]
    # What its test model says once an answer is in the history.
    assert lines[1] == "success (no tool calls)"
    assert lines[2] == "answers in this chat: 2"
    assert re.fullmatch(r"tokens: [1-9]\d* \(in \d+, out \d+\)", lines[3])


async def test_fastapi(tmp_path: Path) -> None:
    """The service streams to a gateway that has the secret."""
    if find_spec("fastapi") is None or find_spec("uvicorn") is None:
        pytest.skip("fastapi or uvicorn is not installed")
    port = free_port()
    command = (sys.executable, "-m", "uvicorn", "agent:app", f"--port={port}")
    async with service("fastapi", *command, port=port, AGENT_SECRET=SECRET) as url:
        lines = await chat("fastapi", ["hello you", "/usage"], http(url), tmp_path)
        await _refuses_other_secrets(url)

    assert lines[:3] == [
        *("HELLO YOU", "answers in this chat: 1", "tokens: 4 (in 2, out 2)")
    ]


async def test_ollama(tmp_path: Path) -> None:
    """Its settings work with a server that stands in for Ollama."""
    for library in ("mockllm", "openai"):
        if find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
    text = (EXAMPLES / "ollama" / "crocbot.env").read_text()
    settings = dict(word.split("=", 1) for word in shlex.split(text, comments=True))
    assert settings["OPENAI_BASE_URL"] == "http://127.0.0.1:11434/v1"
    responses = tmp_path / "responses.yml"
    responses.write_text(
        'responses:\n  "hello": "Hi."\ndefaults:\n  unknown_response: "Hi."\n'
    )
    port = free_port()
    command = (sys.executable, "-m", "uvicorn", "mockllm.server:app", f"--port={port}")
    async with service(
        "ollama", *command, port=port, MOCKLLM_RESPONSES_FILE=str(responses)
    ) as url:
        settings["OPENAI_BASE_URL"] = f"{url}v1"
        assert await chat("ollama", ["hello"], settings, tmp_path) == ["Hi."]


async def test_shell(tmp_path: Path) -> None:
    """The script answers, sends a file, and runs nothing of a message."""
    settings = {"CROCBOT_AGENT": "command", "CROCBOT_AGENT_COMMAND": "./answer.sh"}
    injected = f"$(touch {tmp_path}/made)"
    lines = await chat("shell", ["list", injected], settings, tmp_path)

    assert lines[0] == "Here is the list, user 1000."
    assert lines[1] == f"[document {tmp_path}/files/1-1-system.txt]"
    assert lines[2] == f'I know date, free and list, not "{injected}".'
    assert not (tmp_path / "made").exists()


async def _refuses_other_secrets(url: str) -> None:
    """Check that a service refuses what is signed with another secret, or not."""
    for secret in ("another", None):
        agent = HttpAgent(url, secret, TIMEOUT_SECONDS)
        with pytest.raises(AgentError) as raised:
            await anext(agent.answer(Prompt(a_message("hello"))))
        await agent.close()
        assert raised.value.reason is AgentErrorReason.UNAUTHORIZED


@pytest.mark.parametrize(
    "command", [(sys.executable, "agent.py"), ("node", "agent.mjs")]
)
async def test_signatures(command: tuple[str, ...]) -> None:
    """Only what is signed with the secret is answered."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    port = free_port()
    started = service(
        "signatures", *command, port=port, AGENT_SECRET=SECRET, PORT=str(port)
    )
    async with started as url:
        agent = HttpAgent(url, SECRET, TIMEOUT_SECONDS)
        prompt = Prompt(a_message("Grüße 🐊"))
        assert [part async for part in agent.answer(prompt) if part] == ["signed"]
        await agent.close()
        await _refuses_other_secrets(url)


async def test_signature_in_a_shell() -> None:
    """The script with openssl tells signed bodies from others."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    body = await request_payload(Prompt(a_message("Grüße 🐊")))
    signature = f"sha256={hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}"
    codes = [
        subprocess.run(  # noqa: ASYNC221 (nothing else runs)
            ["./check.sh", given],
            cwd=EXAMPLES / "signatures",
            env={**os.environ, "AGENT_SECRET": SECRET},
            input=content,
        ).returncode
        for given, content in (
            (signature, body),
            (signature, body + b" "),
            (signature.upper(), body),
            ("", body),
        )
    ]

    assert codes == [0, 1, 1, 1]
