"""Limits of real gateways: many chats at once, a kill -9, a stepped clock."""

from __future__ import annotations

import asyncio
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from crocbot.sandbox import Chat, Person
from crocbot.sandbox.messages import text
from tests.crocbot.fakes import serving
from tests.end_to_end.world import World

ADA, EVE = Person(1001, "Ada"), Person(1002, "Eve")
GROUPS = [Chat(-1000 - number, f"Group {number}", "supergroup") for number in range(4)]
PAGE = Path(__file__).parents[2] / "docs" / "limits.md"
LIMITED = "crocbot_limited_messages_total"
SORRY = "Sorry, "


class Sent:
    """What the bot sent: answers, and sentences about limits, by chat."""

    def __init__(self, world: World) -> None:
        self.answers: Counter[int] = Counter()
        self.sentences: Counter[int] = Counter()
        world.server.listen(self._on_sent)

    def _on_sent(self, sent: Any) -> None:
        is_sentence = sent["text"].startswith(SORRY)
        counts = self.sentences if is_sentence else self.answers
        counts[sent["chat"]["id"]] += 1


def examples() -> dict[str, dict[str, str]]:
    """Return the settings of each example of the page, by its name."""
    found = re.findall(
        r"<!-- example: (.+?) -->\n```sh\n(.*?)```", PAGE.read_text(), re.DOTALL
    )
    return {
        name: dict(line.split("=", 1) for line in lines.splitlines())
        for name, lines in found
    }


async def closed(world: World) -> Counter[str]:
    """Return the number of rows by disposition."""
    rows = await world.values("crocbot_inbox_closed_rows")
    return Counter({name: int(count) for name, count in rows.items() if count})


async def test_64_chats_at_once(world: World) -> None:
    """Exactly as many messages are answered as the limit allows; the rest is denied."""
    sent = Sent(world)
    await world.start_bridge()
    await world.start_gateway(CROCBOT_LIMIT_ALL_DAY="100")
    for number in range(3):
        for person in range(1, 65):
            world.server.send(Person(person, f"P{person}"), str(number))

    async def all_closed() -> bool:
        return (await closed(world)).total() == 3 * 64

    await world.eventually(all_closed)
    assert await closed(world) == {"answered": 100, "denied": 92}
    assert sent.answers.total() == 100
    # Once a person, however many of their messages were refused.
    assert set(sent.sentences.values()) == {1}

    async def counted(name: str, label: str) -> bool:
        return (await world.values(name)).get(label) == 92

    await world.eventually(lambda: counted(LIMITED, "all_day"))
    await world.eventually(lambda: counted("crocbot_access_denials_total", "limited"))


async def test_a_person_in_many_chats(world: World) -> None:
    """One person has one share, in groups as well; commands need none."""
    sent = Sent(world)
    await world.start_bridge()
    gateway = await world.start_gateway(
        CROCBOT_LIMIT_PERSON_DAY="6",
        CROCBOT_GROUPS=",".join(f"{group.chat_id}:always" for group in GROUPS),
    )
    for number in range(5):
        for group in GROUPS:
            world.server.send(ADA, text(f"{number}"), group)
        world.server.send(ADA, f"{number}")
    await world.eventually(lambda: sent.answers.total() == 6)
    world.server.send(EVE, "another person")
    world.server.send(ADA, "/help")
    world.server.send(ADA, "/new")

    async def all_closed(commands: int) -> bool:
        return await closed(world) == {"answered": 6 + 1 + commands, "denied": 19}

    await world.eventually(lambda: all_closed(2))
    # Earlier it would cancel one of them.
    world.server.send(ADA, "/stop")
    await world.eventually(lambda: all_closed(3))
    assert sent.answers[EVE.user_id] == 1
    assert max(sent.sentences.values()) == 1
    assert await gateway.stop() == 0


@pytest.mark.parametrize("step", [-3 * 86_400.0, 0.0, 3 * 86_400.0])
async def test_kill(world: World, step: float) -> None:
    """After a kill -9, whatever the clock says, no message is counted twice."""
    calls: Counter[str] = Counter()
    hanging = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        message = (await request.json())["message"]
        calls[message] += 1
        if not hanging.is_set():
            await asyncio.Event().wait()
        return web.json_response({"reply": f"re: {message}"})

    sent = Sent(world)
    await world.start_bridge()
    async with serving({"POST /": answer}) as address:
        settings = {
            "CROCBOT_AGENT": "http",
            "CROCBOT_AGENT_URL": f"http://{address}/",
            "CROCBOT_LIMIT_PERSON_DAY": "2",
            "CROCBOT_LIMIT_ALL_DAY": "10",
            **world.clock.settings,
        }
        gateway = await world.start_gateway(**settings)
        people = [Person(number, f"P{number}") for number in range(1, 6)]
        for person in people:
            world.server.send(person, f"first of {person.user_id}")
        await world.eventually(lambda: len(calls) == 5)
        gateway.process.send_signal(signal.SIGKILL)
        await gateway.process.wait()
        world.clock.step(step)
        hanging.set()
        await world.start_gateway(**settings)
        for number in range(2):
            for person in people:
                world.server.send(person, f"{number} of {person.user_id}")

        async def all_closed() -> bool:
            return (await closed(world)).total() == 15

        await world.eventually(all_closed)
    assert await closed(world) == {"answered": 10, "denied": 5}
    assert set(sent.answers.values()) == {2}
    assert {calls[f"first of {person.user_id}"] for person in people} == {2}


async def test_tokens(world: World) -> None:
    """After as many tokens as the limit, in an earlier process too, none is asked."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append((await request.json())["message"])
        usage = {"input_tokens": 30, "output_tokens": 20}
        return web.json_response({"reply": "yes", "usage": usage})

    sent = Sent(world)
    async with serving({"POST /": answer}) as address:
        settings = {
            "CROCBOT_AGENT": "http",
            "CROCBOT_AGENT_URL": f"http://{address}/",
            "CROCBOT_LIMIT_PERSON_DAY_TOKENS": "100",
            "CROCBOT_STATSD_HOST": "off",
        }
        gateway = await world.start_gateway(**settings)
        for number in range(2):
            world.server.send(ADA, f"{number}")
            await world.eventually(lambda: sent.answers[ADA.user_id] > number)  # noqa: B023
        assert await gateway.stop() == 0
        await world.start_gateway(**settings)
        world.server.send(ADA, "too much")
        await world.eventually(lambda: sent.sentences[ADA.user_id])
        world.server.send(EVE, "hello")
        await world.eventually(lambda: sent.answers[EVE.user_id])
    assert asked == ["0", "1", "hello"]


async def test_the_example_of_the_page(world: World) -> None:
    """The settings of the page work together."""
    sent = Sent(world)
    await world.start_gateway(CROCBOT_STATSD_HOST="off", **examples()["limits"])
    for number in range(6):
        world.server.send(ADA, f"{number}")
    await world.eventually(lambda: sent.sentences[ADA.user_id])
    assert sent.answers[ADA.user_id] == 5
