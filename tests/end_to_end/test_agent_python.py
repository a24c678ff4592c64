"""The agent `python` in a real gateway: errors, time, the end of the process."""

from __future__ import annotations

from pathlib import Path

import pytest

from crocbot.sandbox import Person
from crocbot.sandbox.children import Child
from tests.end_to_end.world import World

ADA, BOB = Person(1001, "Ada"), Person(1002, "Bob")
ROOT = Path(__file__).parents[2]
AGENT = """
import sys, time

def parse(text):
    raise ValueError("no number: " + text)

async def answer(question):
    if question.message.startswith("raise"):
        yield "It begins. "
        parse(question.message)
    if question.message == "exit":
        sys.exit("now")
    if question.message == "block":
        time.sleep(3600)
    yield f"{question.message}!"

def blocking(question):
    if question.message == "block":
        time.sleep(3600)
    return f"{question.message}!"
"""
BROKEN = "Sorry, something broke while I worked on the answer. Please try again."
LATE = "Sorry, the answer took too long, so I stopped waiting for it. Please try again."


async def start(world: World, function: str = "answer", **settings: str) -> Child:
    """Start a gateway with a function of the agent."""
    (world.home / "an_agent.py").write_text(AGENT)
    return await world.start_gateway(
        CROCBOT_AGENT="python",
        CROCBOT_AGENT_FUNCTION=f"an_agent:{function}",
        PYTHONPATH=f"{world.home}:{ROOT}",
        **settings,
    )


async def answers(world: World, person: Person, *texts: str) -> None:
    """Wait until these are all answers of a person."""
    await world.eventually(lambda: world.replies.to(person) == list(texts))


async def test_errors(world: World) -> None:
    """They are counted, people read a sentence, the log has no text of a message."""
    await world.start_bridge()
    gateway = await start(world)
    world.server.send(ADA, "raise iguana-4711")
    await answers(world, ADA, "It begins.", BROKEN)
    world.server.send(BOB, "exit")
    await answers(world, BOB, BROKEN)
    world.server.send(BOB, "hello")
    await answers(world, BOB, BROKEN, "hello!")
    await world.eventually(lambda: world.counted({"failed": 2}, {"warning": 2}))
    log = gateway.output.read_text()

    assert "an_agent.py" in log
    assert "in parse" in log
    assert "ValueError: no number: …" in log
    assert "SystemExit in an_agent.py" in log
    assert "iguana" not in log
    assert "4711" not in log


@pytest.mark.parametrize("function", ["answer", "blocking"])
async def test_a_function_that_blocks(world: World, function: str) -> None:
    """The gateway answers others, keeps the timeout and /stop, and ends in time."""
    gateway = await start(
        world,
        function,
        CROCBOT_AGENT_FIRST_BYTE_SECONDS="15",
        CROCBOT_STATSD_HOST="off",
        CROCBOT_DRAIN_SECONDS="1",
    )
    world.server.send(ADA, "block")
    world.server.send(BOB, "/whoami")
    await world.eventually(lambda: world.replies.to(BOB))
    await answers(world, ADA, LATE)
    world.server.send(ADA, "block")
    await world.eventually(lambda: not world.server.pending)
    world.server.send(ADA, "/stop")
    await answers(world, ADA, LATE, "Stopped.")
    world.server.send(ADA, "block")
    await world.eventually(lambda: not world.server.pending)

    assert await gateway.stop() == 0
    assert "Traceback" not in gateway.output.read_text()
