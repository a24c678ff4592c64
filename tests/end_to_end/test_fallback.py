"""The fallback agent of a real gateway: servers that fail before and after a word."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from crocbot.sandbox import Person
from crocbot.sandbox.drafts import ShownDraft
from crocbot.turn.messages import ERROR_MESSAGES
from crocbot.turn_outcomes import AgentErrorReason
from tests.crocbot.fakes import serving
from tests.end_to_end.programs import Run
from tests.end_to_end.test_agents import examples
from tests.end_to_end.world import World

ADA = Person(1001, "Ada")
FALLBACKS = "crocbot_agent_fallbacks_total"
CUT = "The an"
SECOND_KEY = "sk-second-secret-key"


class Servers:
    """Two model servers: the first fails as the message says, the second answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[Any]]] = []
        self.keys: set[str | None] = set()
        self.urls: list[str] = []
        self.shown = asyncio.Event()
        """Set once a chat shows the beginning of the answer that is cut."""

    async def first(self, request: web.Request) -> web.StreamResponse:
        messages = (await request.json())["messages"]
        fault = messages[-1]["content"]
        self.asked.append(("first", messages))
        if fault == "hangs":
            await asyncio.Event().wait()
        if fault.isdigit():
            return web.Response(status=int(fault), text=f"no {SECOND_KEY}")
        parts = {
            "empty": [],
            "blank": [" ", "\n"],
            "cut": [CUT],
            "well": ["Well."],
        }
        response = await _stream(request, parts[fault])
        if fault == "cut":
            # A reset may overtake what is not read yet.
            await self.shown.wait()
        if fault in {"cut", "blank"} and request.transport is not None:
            request.transport.abort()
        return response

    def see_draft(self, draft: ShownDraft) -> None:
        """Note a draft that a chat shows."""
        if draft.text == CUT:
            self.shown.set()

    async def second(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(("second", (await request.json())["messages"]))
        self.keys.add(request.headers.get("Authorization"))
        return await _stream(request, ["Second."])

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "qwen3:8b"}]})


async def _stream(request: web.Request, parts: list[str]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    for part in parts:
        value = {"choices": [{"delta": {"content": part}}]}
        await response.write(f"data: {json.dumps(value)}\n\n".encode())
    return response


@asynccontextmanager
async def running() -> AsyncIterator[Servers]:
    """Run both servers."""
    servers = Servers()
    async with (
        serving({"POST /v1/chat/completions": servers.first}) as first,
        serving(
            {
                "POST /v1/chat/completions": servers.second,
                "GET /v1/models": servers.models,
            }
        ) as second,
    ):
        servers.urls = [f"http://{place}/v1" for place in (first, second)]
        yield servers


def settings(servers: Servers) -> dict[str, str]:
    """Return the settings of docs/agents.md, with these servers."""
    first, second = servers.urls
    text = examples()["fallback"][""]
    text = text.replace("https://api.openai.com/v1", first)
    text = text.replace("http://127.0.0.1:11434/v1", second)
    return {
        **dict(word.split("=", 1) for word in shlex.split(text)),
        "CROCBOT_FALLBACK_API_KEY": SECOND_KEY,
        "CROCBOT_AGENT_FIRST_BYTE_SECONDS": "15",
        "CROCBOT_ALLOW_FROM": "1001",
    }


async def test_fallback(world: World) -> None:
    """The second agent answers before the first word, never after it; it is counted."""
    replies: list[str] = []
    world.server.listen(lambda sent: replies.append(sent["text"]))
    await world.start_bridge()
    async with running() as servers:
        world.server.listen_drafts(servers.see_draft)
        gateway = await world.start_gateway(**settings(servers))

        async def ask(text: str, count: int = 1) -> list[str]:
            before = len(replies)
            world.server.send(ADA, text)
            await world.eventually(lambda: len(replies) >= before + count)
            return replies[before:]

        assert await ask("well") == ["Well."]
        assert "fallback openai, not needed now" in (await ask("/status"))[0]
        for fault in ("500", "401", "hangs", "empty", "blank"):
            assert await ask(fault) == ["Second."], fault
        status = (await ask("/status"))[0]
        assert "openai has failed for" in status
        assert "the fallback openai answers" in status
        cut = await ask("cut", 2)
        assert cut == [CUT, ERROR_MESSAGES[AgentErrorReason.FAILED]]
        assert await ask("well") == ["Well."]
        assert "not needed now" in (await ask("/status"))[0]
        # The history is the same for both, with the answers of both.
        first, second = (
            next(each for who, each in reversed(servers.asked) if who == name)
            for name in ("first", "second")
        )
        assert second[:2] == first[:2]
        assert {"role": "assistant", "content": "Second."} in first

        async def counted() -> bool:
            found = await world.values(FALLBACKS)
            return {name: n for name, n in found.items() if n} == {"answered": 5}

        await world.eventually(counted)
        errors = await world.values("crocbot_errors_total")
        assert errors["critical agent"] == 1
        assert await gateway.stop() == 0
    assert servers.keys == {f"Bearer {SECOND_KEY}"}
    log = gateway.output.read_text()
    assert "asking the fallback agent" in log
    assert SECOND_KEY not in log


async def test_stop_asks_no_other_agent(world: World) -> None:
    """/stop ends the turn of a first agent that hangs."""
    replies: list[str] = []
    world.server.listen(lambda sent: replies.append(sent["text"]))
    async with running() as servers:
        await world.start_gateway(
            **settings(servers)
            | {"CROCBOT_AGENT_FIRST_BYTE_SECONDS": "60", "CROCBOT_STATSD_HOST": "off"}
        )
        world.server.send(ADA, "hangs")
        await world.eventually(lambda: servers.asked)
        world.server.send(ADA, "/stop")
        await world.eventually(lambda: replies)
        world.server.send(ADA, "well")
        await world.eventually(lambda: len(replies) == 2)
    assert replies == ["Stopped.", "Well."]
    assert [who for who, _ in servers.asked] == ["first", "first"]


@pytest.mark.parametrize("up", [True, False])
async def test_check(world: World, run: Run, up: bool) -> None:
    """`crocbot check` tests both agents, and names the settings of each."""
    async with running() as servers:
        given = {**world.settings(), **settings(servers), "CROCBOT_STATSD_HOST": "off"}
        if not up:
            given["CROCBOT_FALLBACK_BASE_URL"] = servers.urls[0]
        code, output, errors = await asyncio.to_thread(
            run("crocbot", "check", **given).end
        )
    if up:
        assert "ok: fallback: http://127.0.0.1" in output
    else:
        assert "CROCBOT_FALLBACK_BASE_URL is wrong" in output
    # The first server lists no models.
    assert "warning: agent: " in output
    assert "OPENAI_BASE_URL is wrong" in output
    assert (code, errors) == (0, "")
    assert SECOND_KEY not in output
