"""Costs of a real gateway: the metric, /usage and `crocbot usage`, over a restart."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from crocbot.sandbox import Person
from tests.crocbot.fakes import serving
from tests.end_to_end.programs import Run
from tests.end_to_end.world import World

ADA, EVE = Person(1001, "Ada"), Person(1002, "Eve")
PAGE = Path(__file__).parents[2] / "docs" / "limits.md"
COST = "crocbot_agent_cost_dollars_total"


def example(name: str) -> str:
    """Return an example of the page, by its name."""
    found = re.search(
        rf"<!-- example: {re.escape(name)} -->\n```\w+\n(.*?)```",
        PAGE.read_text(),
        re.DOTALL,
    )
    assert found is not None
    return found[1]


async def complete(request: web.Request) -> web.StreamResponse:
    """Answer as a model does, with the model's own name and tokens."""
    await request.read()
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    usage = {"prompt_tokens": 1000, "completion_tokens": 500}
    for value in (
        {"model": "a\nword-of-the-wire", "choices": [{"delta": {"content": "Yes."}}]},
        {"choices": [], "usage": usage},
    ):
        await response.write(f"data: {json.dumps(value)}\n\n".encode())
    return response


async def test_cost(world: World, run: Run) -> None:
    """What docs/limits.md shows is what a gateway with its settings does."""
    replies: list[str] = []
    world.server.listen(lambda sent: replies.append(sent["text"]))
    file = world.home / "prices.toml"
    file.write_text(example("prices.toml"))
    text = example("prices").replace("prices.toml", str(file))
    await world.start_bridge()

    async def ask(person: Person, text: str) -> str:
        before = len(replies)
        world.server.send(person, text)
        await world.eventually(lambda: len(replies) > before)
        return replies[-1]

    async with serving({"POST /v1/chat/completions": complete}) as place:
        settings = {
            **dict(line.split("=", 1) for line in text.splitlines()),
            "OPENAI_BASE_URL": f"http://{place}/v1",
        }
        gateway = await world.start_gateway(**settings)

        async def exists() -> bool:
            return await world.values(COST) == {"gpt-4o-mini": 0}

        await world.eventually(exists)
        await ask(ADA, "one")
        await ask(EVE, "two")
        assert await gateway.stop() == 0
        await world.start_gateway(**settings)
        await ask(ADA, "three")
        shown = await ask(ADA, "/usage")

        async def counted() -> bool:
            (cost,) = (await world.values(COST)).values()
            return cost == pytest.approx(3 * 0.00045, rel=1e-9)

        await world.eventually(counted)
        program = run("crocbot", "usage", **world.settings())
        code, output, errors = await asyncio.to_thread(program.end)
    assert shown.splitlines()[-1] == (
        "your share: 2 answers, 3000 tokens (in 2000, out 1000), $0.0009, 66.7 % of all"
    )
    expected = re.search(r"\$ crocbot usage\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert expected is not None
    assert (code, output, errors) == (0, expected[1], "")
    assert "word-of-the-wire" not in await world.text()


async def test_an_agent_that_reports_no_tokens(world: World, run: Run) -> None:
    """It costs 0, and the page and the command say so."""
    replies: list[str] = []
    world.server.listen(lambda sent: replies.append(sent["text"]))
    file = world.home / "prices.toml"
    file.write_text("[http]\ninput = 5\noutput = 5\n")

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"reply": "hello"})

    async with serving({"POST /": answer}) as place:
        await world.start_gateway(
            CROCBOT_AGENT="http",
            CROCBOT_AGENT_URL=f"http://{place}/",
            CROCBOT_PRICES=str(file),
            CROCBOT_STATSD_HOST="off",
        )
        world.server.send(ADA, "hi")
        await world.eventually(lambda: replies)
        world.server.send(ADA, "/usage")
        await world.eventually(lambda: len(replies) == 2)
    program = run("crocbot", "usage", **world.settings())
    _, output, _ = await asyncio.to_thread(program.end)
    assert "tokens not counted by the agent, $0.00" in replies[1]
    assert "user 1001  1 answer, tokens not counted by the agent, $0.00" in output


@pytest.mark.parametrize("command", ["check", "gateway"])
async def test_a_wrong_file(world: World, run: Run, command: str) -> None:
    """It is refused in one line with the file and the key, with exit code 2."""
    file = world.home / "prices.toml"
    file.write_text('["gpt-4o"]\ninput = "cheap"\noutput = 1\n')
    settings: dict[str, Any] = {**world.settings(), "CROCBOT_PRICES": str(file)}
    program = run("crocbot", command, **settings)
    code, output, errors = await asyncio.to_thread(program.end)
    assert (code, output) == (2, "")
    assert errors == (
        f"crocbot: CROCBOT_PRICES: {file}: gpt-4o.input is 'cheap': must be dollars per"
        " million tokens, 0 to 1000000\n"
    )


async def test_no_database(world: World, run: Run) -> None:
    """Without a gateway that ever ran there is nothing to show, in one line."""
    program = run("crocbot", "usage", **world.settings())
    code, _, errors = await asyncio.to_thread(program.end)
    assert code == 2
    assert len(errors.splitlines()) == 1
