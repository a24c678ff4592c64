"""A reaction on messages that wait, with `CROCBOT_ACKNOWLEDGE`."""

from __future__ import annotations

import asyncio
import signal

import pytest
from aiohttp import web

from crocbot.sandbox import Chat, Person, faults
from crocbot.sandbox.faults import Drop, Fault, Slow
from crocbot.sandbox.reactions import Reaction
from tests.crocbot.fakes import serving
from tests.end_to_end.programs import Run
from tests.end_to_end.world import World

ADA, BOB = Person(1001, "Ada"), Person(1002, "Bob")
EYES = {"CROCBOT_ACKNOWLEDGE": "👀"}


def record(world: World) -> list[Reaction]:
    """Return a list to which the reactions of the bot are added."""
    seen: list[Reaction] = []
    world.server.listen_reactions(seen.append)
    return seen


async def test_a_reaction_until_the_answer(world: World) -> None:
    """It is shown while messages wait, and gone after their answers."""
    seen = record(world)
    both_wait = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await both_wait.wait()
        return web.json_response({"reply": (await request.json())["message"]})

    async with serving({"POST /": answer}) as place:
        agent = {"CROCBOT_AGENT": "http", "CROCBOT_AGENT_URL": f"http://{place}/"}
        gateway = await world.start_gateway(**EYES, **agent)
        sent = [world.server.send(ADA, text) for text in ("one", "two")]

        def shown(emoji: str | None) -> bool:
            return [*map(world.server.reaction, sent)] == [emoji] * 2

        await world.eventually(lambda: shown("👀"))
        both_wait.set()
        await world.eventually(lambda: world.replies.to(ADA) == ["one", "two"])
        await world.eventually(lambda: shown(None))
        assert len(seen) == 4
        assert await gateway.stop() == 0


async def test_no_reaction_for_strangers_and_by_default(world: World) -> None:
    """Only messages that will be answered get one, and only if it is set."""
    seen = record(world)
    gateway = await world.start_gateway(
        CROCBOT_ACCESS="allowlist", CROCBOT_ALLOW_FROM="1001", **EYES
    )
    world.server.send(BOB, "hello?")
    world.server.send(ADA, "not to the bot", Chat(-5, "Friends"))
    world.server.send(ADA, "hi")
    await world.eventually(lambda: world.replies.to(ADA) == ["hi"])
    await world.eventually(lambda: len(seen) == 2)
    assert {reaction.chat_id for reaction in seen} == {1001}
    assert await gateway.stop() == 0

    gateway = await world.start_gateway()
    world.server.send(ADA, "again")
    await world.eventually(lambda: world.replies.to(ADA) == ["hi", "again"])
    assert await gateway.stop() == 0
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("fault", "calls"),
    [
        (faults.flood_wait(3600), 1),
        (faults.api_error(404, "Not Found"), 1),
        (faults.api_error(400, "Bad Request: REACTION_INVALID"), 1),
        (faults.api_error(400, "Bad Request: message to react not found"), 3),
        (Slow(3600), 3),
        (Drop(), 3),
    ],
)
async def test_reactions_that_fail(world: World, fault: Fault, calls: int) -> None:
    """No answer is delayed or lost; what will fail again is not tried again."""
    world.server.fault("setMessageReaction", fault, times=100)
    await world.start_bridge()
    gateway = await world.start_gateway(**EYES)
    for number in range(3):
        world.server.send(ADA, f"{number}")
        await world.eventually(
            lambda: len(world.replies.to(ADA)) == number + 1  # noqa: B023
        )
    await world.eventually(lambda: world.server.calls["setmessagereaction"] >= calls)
    errors = await world.values("crocbot_errors_total")
    assert await gateway.stop() == 0
    assert not any(errors.values())
    assert calls > 1 or world.server.calls["setmessagereaction"] == 1
    assert "Traceback" not in gateway.output.read_text()


async def test_a_reaction_of_an_earlier_process(world: World) -> None:
    """The process that answers removes it."""
    world.server.fault("sendMessage", Slow(3600))
    gateway = await world.start_gateway(**EYES)
    sent = world.server.send(ADA, "hi")
    await world.eventually(lambda: world.server.reaction(sent) == "👀")
    await world.eventually(lambda: world.server.calls["sendmessage"])
    gateway.process.send_signal(signal.SIGKILL)
    await gateway.process.wait()

    await world.start_gateway(**EYES)
    await world.eventually(lambda: world.replies.to(ADA) == ["hi"])
    await world.eventually(lambda: world.server.reaction(sent) is None)


async def test_an_emoji_that_is_no_reaction(world: World, run: Run) -> None:
    """The gateway does not start, and one line names the setting."""
    settings = {**world.settings(), "CROCBOT_ACKNOWLEDGE": "🐊"}
    code, _, errors = await asyncio.to_thread(run("crocbot", "gateway", **settings).end)

    assert code == 2
    (line,) = errors.strip().splitlines()
    assert "CROCBOT_ACKNOWLEDGE is '🐊': must be an emoji" in line
