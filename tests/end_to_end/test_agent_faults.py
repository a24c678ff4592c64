"""Agents that fail in every way: people get an answer or one sentence, in time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from crocbot.sandbox import Person, messages
from crocbot.sandbox.drafts import ShownDraft
from crocbot.turn.messages import ERROR_MESSAGES
from crocbot.turn_outcomes import AgentErrorReason
from tests.crocbot.fakes import serving
from tests.end_to_end.programs import wait_gone
from tests.end_to_end.world import World

# By the text of the message, which says what the agent does: the replies.
FAULTS: dict[str, list[str]] = {
    "well": ["All is well."],
    "slow first byte": [ERROR_MESSAGES[AgentErrorReason.TIMEOUT]],
    "cut": ["The answer is", ERROR_MESSAGES[AgentErrorReason.FAILED]],
    "429": [ERROR_MESSAGES[AgentErrorReason.RATE_LIMITED]],
    "500": [ERROR_MESSAGES[AgentErrorReason.FAILED]],
    "endless": ["...", ERROR_MESSAGES[AgentErrorReason.TIMEOUT]],
    "wrong json": [ERROR_MESSAGES[AgentErrorReason.MALFORMED]],
    "empty": [ERROR_MESSAGES[AgentErrorReason.EMPTY]],
}

ADA = Person(1001, "Ada")


def plain(text: str) -> bytes:
    """Return a chunk of a plain text."""
    return text.encode()


def completion(text: str) -> bytes:
    """Return a chunk of a chat completion."""
    return (
        f"data: {json.dumps({'choices': [{'delta': {'content': text}}]})}\n\n".encode()
    )


def http_text(body: dict[str, Any]) -> str:
    """Return the message in a request of the agent `http`."""
    return str(body["message"])


def openai_text(body: dict[str, Any]) -> str:
    """Return the message in a request for a chat completion."""
    return str(body["messages"][-1]["content"])


@asynccontextmanager
async def service(
    world: World,
    read_text: Callable[[dict[str, Any]], str],
    chunk: Callable[[str], bytes],
    content_type: str,
) -> AsyncIterator[str]:
    """Run an agent that does what the message says; yield its URL."""
    drafts: list[ShownDraft] = []
    world.server.listen_drafts(drafts.append)

    async def answer(request: web.Request) -> web.StreamResponse:
        fault = read_text(await request.json())
        if fault == "slow first byte":
            await asyncio.Event().wait()
        if fault.isdigit():
            return web.Response(status=int(fault), headers={"Retry-After": "0"})
        if fault == "wrong json" and content_type == "text/plain":
            return web.Response(text='{"reply"', content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": content_type})
        response.enable_chunked_encoding()
        await response.prepare(request)
        if fault == "wrong json":
            await response.write(b"data: {broken\n\n")
        if fault == "well":
            for part in ("All ", "is **we", "ll**."):
                await response.write(chunk(part))
        if fault == "cut" and request.transport is not None:
            await response.write(chunk("The answer is"))
            # A reset may overtake what is not read yet.
            await world.eventually(
                lambda: any(each.text == "The answer is" for each in drafts)
            )
            request.transport.abort()
        while fault == "endless":
            await response.write(chunk("."))
            await asyncio.sleep(0.05)
        return response

    async with serving({"POST /v1/chat/completions": answer}) as place:
        yield f"http://{place}/v1"


with_a_server = pytest.mark.parametrize(
    ("agent", "read_text", "chunk", "content_type"),
    [
        ("http", http_text, plain, "text/plain"),
        ("openai", openai_text, completion, "text/event-stream"),
    ],
)


@with_a_server
async def test_stops_while_an_agent_speaks(
    world: World,
    agent: str,
    read_text: Callable[[dict[str, Any]], str],
    chunk: Callable[[str], bytes],
    content_type: str,
) -> None:
    """/stop ends an endless answer at once, and so does the end of the gateway."""
    async with service(world, read_text, chunk, content_type) as url:
        gateway = await world.start_gateway(
            CROCBOT_AGENT=agent,
            CROCBOT_AGENT_URL=f"{url}/chat/completions",
            OPENAI_BASE_URL=url,
            CROCBOT_MODEL="m",
            CROCBOT_DRAIN_SECONDS="0.2",
            CROCBOT_STATSD_HOST="off",
        )
        world.server.send(ADA, "endless")
        await world.eventually(lambda: world.server.draft(ADA))
        world.server.send(ADA, "/stop")
        await world.eventually(lambda: "Stopped." in world.replies.to(ADA))
        world.server.send(ADA, "endless")
        await world.eventually(lambda: not world.server.pending)
        await world.eventually(lambda: set(world.server.draft(ADA) or "-") == {"."})
        assert await gateway.stop() == 0
        assert "left open for the next start" in gateway.output.read_text()


@with_a_server
async def test_faults(
    world: World,
    agent: str,
    read_text: Callable[[dict[str, Any]], str],
    chunk: Callable[[str], bytes],
    content_type: str,
) -> None:
    """One gateway meets all faults at once; each user gets an answer or a sentence."""
    if agent == "openai":
        pytest.importorskip("openai", reason="the extra crocbot[openai] is missing")
    people = {fault: Person(2000 + n, fault) for n, fault in enumerate(FAULTS)}

    async with service(world, read_text, chunk, content_type) as url:
        gateway = await world.start_gateway(
            CROCBOT_AGENT=agent,
            CROCBOT_AGENT_URL=f"{url}/chat/completions",
            OPENAI_BASE_URL=url,
            CROCBOT_MODEL="m",
            CROCBOT_AGENT_FIRST_BYTE_SECONDS="15",
            CROCBOT_AGENT_TOTAL_SECONDS="20",
            CROCBOT_STATSD_HOST="off",
        )
        for fault, person in people.items():
            world.server.send(person, fault)

        def received() -> dict[str, list[str]]:
            texts = {fault: world.replies.to(each) for fault, each in people.items()}
            endless = texts["endless"]
            if endless and set(endless[0]) == {"."}:
                endless[0] = "..."
            return texts

        await world.eventually(lambda: received() == FAULTS)
        assert await gateway.stop() == 0
        assert "Traceback" not in gateway.output.read_text()


PROGRAM = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path("{file}").write_text(f"{{os.getpid()}} {{child.pid}}")
print("I begin", flush=True)
time.sleep(600)
"""


async def test_stop_ends_a_program(world: World, tmp_path: Path) -> None:
    """/stop ends the program that answers and its children; the next one answers."""
    pids, program = tmp_path / "pids", tmp_path / "answer.py"
    program.write_text(PROGRAM.format(file=pids))
    await world.start_gateway(
        CROCBOT_AGENT="command",
        CROCBOT_AGENT_COMMAND=f"python3 {program}",
        CROCBOT_STATSD_HOST="off",
    )
    world.server.send(ADA, "begin")
    await world.eventually(lambda: world.server.draft(ADA) == "I begin")
    running = [int(pid) for pid in pids.read_text().split()]
    world.server.send(ADA, "/stop")
    await world.eventually(lambda: "Stopped." in world.replies.to(ADA))
    assert all([await asyncio.to_thread(wait_gone, pid) for pid in running])
    program.write_text("print('I am another')")
    world.server.send(ADA, "and now?")
    await world.eventually(lambda: world.replies.to(ADA)[-1] == "I am another")


SECRETS = {
    "CROCBOT_AGENT_SECRET": "hush-agent-hush",
    "OPENAI_API_KEY": "hush-key-hush",
    "SOME_OTHER_TOKEN": "hush-other-hush",
}


async def test_a_program_gets_no_secrets(world: World, tmp_path: Path) -> None:
    """The environment of a program has no secret and no setting of the gateway."""
    program = tmp_path / "answer.py"
    program.write_text("import os\nfor pair in os.environ.items(): print(*pair)")
    await world.start_gateway(
        CROCBOT_AGENT="command",
        CROCBOT_AGENT_COMMAND=f"python3 {program}",
        CROCBOT_STATSD_HOST="off",
        **SECRETS,
    )
    world.server.send(ADA, "what do you know?")
    await world.eventually(lambda: world.replies.to(ADA))

    (environment,) = world.replies.to(ADA)
    assert "CROCBOT_CHAT 1001" in environment
    assert "hush" not in environment
    assert "TELEGRAM" not in environment
    assert "token-that-opens-nothing" not in environment


async def test_a_picture_reaches_the_agent(world: World) -> None:
    """A photo is sent to the agent as data, without the link that has the token."""
    bodies: list[dict[str, Any]] = []

    def record(body: dict[str, Any]) -> str:
        bodies.append(body)
        return "well"

    async with service(world, record, plain, "text/plain") as url:
        world.server.upload("photo-large", b"not really a picture")
        await world.start_gateway(
            CROCBOT_AGENT="http",
            CROCBOT_AGENT_URL=f"{url}/chat/completions",
            CROCBOT_STATSD_HOST="off",
        )
        world.server.send(ADA, messages.photo("Which animal?"))
        await world.eventually(lambda: world.replies.to(ADA) == ["All is well."])

    (body,) = bodies
    assert world.server.token not in json.dumps(bodies)
    assert body["message"] == "Which animal?\n[photo, 1280x853]"
    assert body["images"] == [
        {"mime_type": "image/jpeg", "data": "bm90IHJlYWxseSBhIHBpY3R1cmU="}
    ]


async def test_history_survives_a_restart(world: World) -> None:
    """The agent gets the turns before a restart; /new forgets them."""
    histories: list[list[str]] = []

    def record(body: dict[str, Any]) -> str:
        histories.append([line["content"] for line in body["history"]])
        return "well"

    async def ask(text: str) -> None:
        before = len(world.replies.to(ADA))
        world.server.send(ADA, text)
        await world.eventually(lambda: len(world.replies.to(ADA)) > before)

    async with service(world, record, plain, "text/plain") as url:
        settings = {
            "CROCBOT_AGENT": "http",
            "CROCBOT_AGENT_URL": f"{url}/chat/completions",
            "CROCBOT_STATSD_HOST": "off",
        }
        gateway = await world.start_gateway(**settings)
        await ask("one")
        assert await gateway.stop() == 0
        await world.start_gateway(**settings)
        for text in ("two", "/new", "three"):
            await ask(text)

    assert histories == [[], ["one", "All is **well**."], []]
