"""Agents that fail in every way: people get an answer or one sentence, in time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from crocbot.events import AgentErrorReason
from crocbot.sandbox import Person, messages
from crocbot.sandbox.processes import HOST
from crocbot.turn.messages import ERROR_MESSAGES

# What the agent does, by what it is asked; and what the person reads in the end.
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


def plain(text: str) -> bytes:
    """A piece of a text."""
    return text.encode()


def chunk(text: str) -> bytes:
    """A piece of a chat completion."""
    return (
        f"data: {json.dumps({'choices': [{'delta': {'content': text}}]})}\n\n".encode()
    )


def asked_by_http(body: dict[str, Any]) -> str:
    """What our own form asks."""
    return str(body["message"])


def asked_by_openai(body: dict[str, Any]) -> str:
    """What a chat completion asks."""
    return str(body["messages"][-1]["content"])


@asynccontextmanager
async def service(
    asked: Callable[[dict[str, Any]], str],
    piece: Callable[[str], bytes],
    content_type: str,
) -> AsyncIterator[str]:
    """An agent that does as it is told; the URL of it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        word = asked(await request.json())
        if word == "slow first byte":
            await asyncio.Event().wait()
        if word.isdigit():
            return web.Response(status=int(word), headers={"Retry-After": "0"})
        if word == "wrong json" and content_type == "text/plain":
            return web.Response(text='{"reply"', content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": content_type})
        response.enable_chunked_encoding()
        await response.prepare(request)
        if word == "wrong json":
            await response.write(b"data: {broken\n\n")
        if word == "well":
            for part in ("All ", "is **we", "ll**."):
                await response.write(piece(part))
        if word == "cut" and request.transport is not None:
            await response.write(piece("The answer is"))
            await asyncio.sleep(0.1)
            request.transport.abort()
        while word == "endless":
            await response.write(piece("."))
            await asyncio.sleep(0.05)
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    yield f"http://{HOST}:{runner.addresses[0][1]}/v1"
    await runner.cleanup()


class Readers:
    """Who reads what: by person, the texts of his messages as they are now."""

    def __init__(self) -> None:
        self.texts: dict[int, dict[int, str]] = {}

    def hear(self, sent: Any) -> None:
        """Take a message, new or edited."""
        chat = self.texts.setdefault(sent["chat"]["id"], {})
        chat[sent["message_id"]] = sent["text"]

    def read(self, person: Person) -> list[str]:
        """What a person reads now."""
        return list(self.texts.get(person.user_id, {}).values())


@pytest.mark.parametrize(
    ("agent", "asked", "piece", "content_type"),
    [
        ("http", asked_by_http, plain, "text/plain"),
        ("openai", asked_by_openai, chunk, "text/event-stream"),
    ],
)
def test_faults(
    world,
    agent: str,
    asked: Callable[[dict[str, Any]], str],
    piece: Callable[[str], bytes],
    content_type: str,
) -> None:
    """One gateway meets every fault at once; each turn ends, each person is told."""
    if agent == "openai":
        pytest.importorskip("openai", reason="the extra crocbot[openai] is not there")
    people = {word: Person(2000 + n, word) for n, word in enumerate(FAULTS)}
    readers = Readers()

    async def scene() -> None:
        async with world() as w, service(asked, piece, content_type) as url:
            w.server.listen(readers.hear)
            gateway = await w.start_gateway(
                CROCBOT_AGENT=agent,
                CROCBOT_AGENT_URL=f"{url}/chat/completions",
                OPENAI_BASE_URL=url,
                CROCBOT_MODEL="m",
                CROCBOT_AGENT_FIRST_BYTE_SECONDS="2",
                CROCBOT_AGENT_TOTAL_SECONDS="4",
                CROCBOT_STATSD_HOST="off",
            )
            for word, person in people.items():
                w.server.send(person, word)
            for word, wanted in FAULTS.items():
                last = wanted[-1]
                await w.eventually(
                    lambda p=people[word], t=last: readers.read(p)[-1:] == [t]
                )
            assert await gateway.stop() == 0
            assert "Traceback" not in gateway.output.read_text()

    asyncio.run(scene())
    for word, wanted in FAULTS.items():
        told = readers.read(people[word])
        if word == "endless":
            assert set(told[0]) == {"."}
            told[0] = "..."
        assert told == wanted


PROGRAM = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path("{file}").write_text(f"{{os.getpid()}} {{child.pid}}")
print("I begin", flush=True)
time.sleep(600)
"""


def test_stop_ends_a_program(world, gone, tmp_path) -> None:
    """/stop ends the program that answers, and its children; the next one answers."""
    pids, program = tmp_path / "pids", tmp_path / "answer.py"
    program.write_text(PROGRAM.format(file=pids))
    ada = Person(1001, "Ada")
    readers = Readers()

    async def scene() -> None:
        async with world() as w:
            w.server.listen(readers.hear)
            await w.start_gateway(
                CROCBOT_AGENT="command",
                CROCBOT_AGENT_COMMAND=f"python3 {program}",
                CROCBOT_STATSD_HOST="off",
            )
            w.server.send(ada, "begin")
            await w.eventually(lambda: readers.read(ada) == ["I begin"])
            running = [int(pid) for pid in pids.read_text().split()]
            w.server.send(ada, "/stop")
            await w.eventually(lambda: readers.read(ada)[-1] == "Stopped.")
            assert all([await asyncio.to_thread(gone, pid) for pid in running])
            program.write_text("print('I am another')")
            w.server.send(ada, "and now?")
            await w.eventually(lambda: readers.read(ada)[-1] == "I am another")

    asyncio.run(scene())


SECRETS = {
    "CROCBOT_AGENT_SECRET": "hush-agent-hush",
    "OPENAI_API_KEY": "hush-key-hush",
    "SOME_OTHER_TOKEN": "hush-other-hush",
}


def test_a_program_gets_no_secrets(world, tmp_path) -> None:
    """The environment of a program has no secret, and no setting of the gateway."""
    program = tmp_path / "answer.py"
    program.write_text("import os\nfor pair in os.environ.items(): print(*pair)")
    ada = Person(1001, "Ada")
    readers = Readers()

    async def scene() -> None:
        async with world() as w:
            w.server.listen(readers.hear)
            await w.start_gateway(
                CROCBOT_AGENT="command",
                CROCBOT_AGENT_COMMAND=f"python3 {program}",
                CROCBOT_STATSD_HOST="off",
                **SECRETS,
            )
            w.server.send(ada, "what do you know?")
            await w.eventually(lambda: readers.read(ada))

    asyncio.run(scene())
    (told,) = readers.read(ada)
    assert "CROCBOT_CHAT 1001" in told
    assert "hush" not in told
    assert "TELEGRAM" not in told
    assert "token-that-opens-nothing" not in told


def test_a_picture_reaches_the_agent(world) -> None:
    """A photo is data for the agent, and the link with the token goes to nobody."""
    bodies: list[dict[str, Any]] = []
    ada = Person(1001, "Ada")
    readers = Readers()

    def keep(body: dict[str, Any]) -> str:
        bodies.append(body)
        return "well"

    async def scene() -> None:
        async with world() as w, service(keep, plain, "text/plain") as url:
            w.server.listen(readers.hear)
            w.server.upload("photo-large", b"not really a picture")
            await w.start_gateway(
                CROCBOT_AGENT="http",
                CROCBOT_AGENT_URL=f"{url}/chat/completions",
                CROCBOT_STATSD_HOST="off",
            )
            w.server.send(ada, messages.photo("Which animal?"))
            await w.eventually(lambda: readers.read(ada) == ["All is well."])
            assert w.server.token not in json.dumps(bodies)

    asyncio.run(scene())
    (body,) = bodies
    assert body["message"] == "Which animal?\n[photo, 1280x853]"
    assert body["images"] == [
        {"mime_type": "image/jpeg", "data": "bm90IHJlYWxseSBhIHBpY3R1cmU="}
    ]


def test_memory_outlives_a_restart(world) -> None:
    """What was said before is told again, also after a restart; /new forgets it."""
    asked: list[list[str]] = []
    ada = Person(1001, "Ada")
    readers = Readers()

    def keep(body: dict[str, Any]) -> str:
        asked.append([line["content"] for line in body["history"]])
        return "well"

    async def scene() -> None:
        async with world() as w, service(keep, plain, "text/plain") as url:
            w.server.listen(readers.hear)
            settings = {
                "CROCBOT_AGENT": "http",
                "CROCBOT_AGENT_URL": f"{url}/chat/completions",
                "CROCBOT_STATSD_HOST": "off",
            }

            async def say(words: str) -> None:
                before = len(readers.read(ada))
                w.server.send(ada, words)
                await w.eventually(lambda: len(readers.read(ada)) > before)

            gateway = await w.start_gateway(**settings)
            await say("one")
            assert await gateway.stop() == 0
            await w.start_gateway(**settings)
            await say("two")
            await say("/new")
            await say("three")

    asyncio.run(scene())
    assert asked == [[], ["one", "All is **well**."], []]
