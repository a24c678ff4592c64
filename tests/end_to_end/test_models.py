"""A gateway whose model's server speaks dialects: what people and operators get."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from crocbot.sandbox import Person, messages
from crocbot.turn.ask import CUT_MARK
from crocbot.turn.messages import ERROR_MESSAGES
from crocbot.turn_outcomes import AgentErrorReason as Reason
from tests.crocbot.fakes import serving
from tests.crocbot.model_server import BY_MESSAGE, chunk, event, model_server
from tests.end_to_end.world import World

pytest.importorskip("openai", reason="the extra crocbot[openai] is not installed")

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
ADA = Person(1001, "Ada")
LIMIT = "Sorry, there are too many questions at the moment. Please try again in {}."
# By the dialect of the server: the replies.
ANSWERS = {
    "parts": ["Hi."],
    "think": ["Hi."],
    "filtered": ["Half a", ERROR_MESSAGES[Reason.REFUSED]],
    "openai-model": [ERROR_MESSAGES[Reason.OPERATOR]],
    "openai-quota": [ERROR_MESSAGES[Reason.OPERATOR]],
    "web-page": [ERROR_MESSAGES[Reason.OPERATOR]],
    "key": [ERROR_MESSAGES[Reason.UNAUTHORIZED]],
    "long-limit": [LIMIT.format("8 minutes")],
    "error-200-unknown": [ERROR_MESSAGES[Reason.FAILED]],
    "azure-filter": [ERROR_MESSAGES[Reason.REFUSED]],
    "cut-short": ["Half a", ERROR_MESSAGES[Reason.CUT_SHORT]],
    "message-too-long": [ERROR_MESSAGES[Reason.CONTEXT_LENGTH]],
}
# The faults of docs/operations.md, by dialect.
FAULTS = {
    "openai-model": "does not know the model",
    "openai-quota": "has no credit left for you",
    "web-page": "is a web page",
    "key": "refuses the key",
    "long-limit": "asks to wait for minutes",
    "error-200-unknown": "sends an error with status 200",
    "azure-filter": "filters the message",
    "cut-short": "ends the answer at its greatest length",
    "message-too-long": "cannot read so much",
}


def faults() -> dict[str, list[str]]:
    """Return log words, reason and severity of each fault on the page."""
    _, _, rest = PAGE.read_text().partition("## When a model's server fails")
    lines = [line for line in rest.partition("\n## ")[0].splitlines() if "| `" in line]
    cells = [[cell.strip(" `") for cell in line[1:-1].split("|")] for line in lines]
    return {fault: words for fault, _, *words in cells[1:]}


def settings(url: str) -> dict[str, str]:
    """Return the settings of a gateway that asks this server."""
    return {
        "CROCBOT_AGENT": "openai",
        "OPENAI_BASE_URL": url,
        "CROCBOT_MODEL": "m",
        "CROCBOT_SYSTEM_PROMPT": "Be brief.",
    }


async def test_what_people_get(world: World) -> None:
    """Each person gets the answer or one sentence; log and metrics have the reason."""
    people = {name: Person(2000 + n, name) for n, name in enumerate(ANSWERS)}
    await world.start_bridge()
    async with model_server() as (server, url):
        gateway = await world.start_gateway(**settings(f"{url}/{BY_MESSAGE}/v1"))
        for name, person in people.items():
            world.server.send(person, name)
        await world.eventually(
            lambda: {n: world.replies.to(each) for n, each in people.items()} == ANSWERS
        )
        assert {name: len(sent) for name, sent in server.requests.items()} == {
            name: 3 if name == "error-200-unknown" else 1 for name in ANSWERS
        }

    page = faults()
    assert set(page) == set(FAULTS.values())
    reasons = Counter(reason for _, reason, _ in page.values())
    # Of the answer that breaks off in the middle.
    reasons["refused"] += 1
    severities = Counter(severity for *_, severity in page.values())
    severities["warning"] += 1

    await world.eventually(lambda: world.counted(reasons, severities))
    log = gateway.output.read_text()
    assert [words for words, *_ in page.values() if words not in log] == []


async def test_thinking_that_is_kept(world: World) -> None:
    """With CROCBOT_KEEP_THINKING people see the blocks as well."""
    async with model_server() as (_, url):
        changes = {"CROCBOT_KEEP_THINKING": "true", "CROCBOT_STATSD_HOST": "off"}
        await world.start_gateway(**settings(f"{url}/think/v1"), **changes)
        world.server.send(ADA, "hello")
        await world.eventually(
            lambda: "".join(world.replies.to(ADA)[-1:]).endswith("Hi.")
        )

    (reply,) = world.replies.to(ADA)
    assert "A greeting." in reply


@pytest.mark.parametrize("stopped", [True, False])
async def test_continue(world: World, stopped: bool) -> None:
    """The model knows the half of an answer that is in the chat, marked as cut."""
    asked: list[list[dict[str, Any]]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append((await request.json())["messages"])
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if len(asked) == 1:
            usage = {"prompt_tokens": 7, "completion_tokens": 5}
            await response.write(event("Half a") + event({"usage": usage}))
            if stopped:
                await asyncio.Event().wait()
            assert request.transport is not None
            # Not abort(): a reset discards what the gateway has not read yet.
            request.transport.close()
        else:
            await response.write(event(chunk("The rest.", "stop")))
        return response

    await world.start_bridge()
    async with serving({"POST /v1/chat/completions": answer}) as place:
        await world.start_gateway(**settings(f"http://{place}/v1"))
        world.server.send(ADA, "tell me")
        if stopped:
            await world.eventually(lambda: world.server.draft(ADA) == "Half a")
            world.server.send(ADA, "/stop")
        await world.eventually(lambda: len(world.replies.to(ADA)) == 2)
        world.server.send(ADA, "continue")
        await world.eventually(lambda: world.replies.to(ADA)[-1] == "The rest.")

    assert asked[1] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "tell me"},
        {"role": "assistant", "content": f"Half a{CUT_MARK}"},
        {"role": "user", "content": "continue"},
    ]

    async def counted() -> bool:
        page = await world.text()
        tokens = await world.values("crocbot_agent_tokens_total")
        answers = "crocbot_agent_latency_seconds_count 2" in page
        return answers and (tokens["input"], tokens["output"]) == (7, 5)

    await world.eventually(counted)


async def test_thinking_that_the_template_opens(world: World) -> None:
    """It is gone from the chat at the end of an answer, and never in the memory."""
    async with model_server() as (server, url):
        await world.start_gateway(
            **settings(f"{url}/think-opened/v1"), CROCBOT_STATSD_HOST="off"
        )
        for count in (1, 2):
            world.server.send(ADA, f"message {count}")
            await world.eventually(lambda: len(world.replies.to(ADA)) == count)  # noqa: B023

    assert world.replies.to(ADA) == ["Hi.", "Hi."]
    (_, _, answer, _) = server.requests["think-opened"][-1]["messages"]
    assert answer == {"role": "assistant", "content": "Hi."}


async def test_photos_for_a_model_without_eyes(world: World) -> None:
    """The first photo takes two requests, later ones take one."""
    async with model_server() as (server, url):
        world.server.upload("photo-large", b"not really a picture")
        await world.start_gateway(
            **settings(f"{url}/ollama-blind/v1"), CROCBOT_STATSD_HOST="off"
        )
        for count in (1, 2):
            world.server.send(ADA, messages.photo("Which animal?"))
            await world.eventually(lambda: len(world.replies.to(ADA)) == count)  # noqa: B023

    assert world.replies.to(ADA) == ["Hi.", "Hi."]
    contents = [
        body["messages"][-1]["content"] for body in server.requests["ollama-blind"]
    ]
    assert [isinstance(content, list) for content in contents] == [True, False, False]
    assert contents[-1] == "Which animal?\n[photo, 1280x853]"


async def test_a_conversation_that_grew_too_long(world: World) -> None:
    """A chat whose history the model cannot read any more is answered all the same."""
    async with model_server() as (server, url):
        await world.start_gateway(**settings(f"{url}/openai-long/v1"))
        for count in (1, 2, 3):
            world.server.send(ADA, f"message {count}")
            await world.eventually(lambda: len(world.replies.to(ADA)) == count)  # noqa: B023

    assert world.replies.to(ADA) == ["Hi."] * 3
    assert len(server.requests["openai-long"]) == 1 + 2 + 3
