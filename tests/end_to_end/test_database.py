"""From a state file to PostgreSQL, and what nothing shows of the database's URL."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest

from crocbot.inbox import SCHEMA, sql
from crocbot.sandbox import Person
from crocbot.store import opened
from tests.end_to_end.world import World
from tests.postgresql import Cluster

ADA, BOB, EVE = Person(7, "Ada"), Person(8, "Bob"), Person(9, "Eve")
ROOT = Path(__file__).parents[2]
# It answers what begins with "slow" only once there is a file `go`.
AGENT = """
import asyncio, pathlib

async def answer(question):
    while question.message.startswith("slow") and not pathlib.Path(GO).exists():
        await asyncio.sleep(0.05)
    return question.message + "!"
"""
TEXTS = {
    ADA: ["slow one", "two", "slow three"],
    BOB: ["slow four"],
}
PASSWORD = "hush/hush@1%20 ü:#?"
ENCODED = quote(PASSWORD, safe="")
COMMANDS = (
    *(["check"], ["status"], ["database", "upgrade"], ["database", "move"]),
    *(["inbox"], ["inbox", "retry"], ["pairing", "list"], ["send", "--list"]),
    *(["usage"], ["backup", "x"], ["restore", "x"]),
)
SECRETS = (PASSWORD, ENCODED, "hush/hush", "hush%2Fhush")


def with_agent(world: World) -> dict[str, str]:
    """Return settings of a gateway whose agent waits for a file."""
    source = AGENT.replace("GO", repr(str(world.home / "go")))
    (world.home / "an_agent.py").write_text(source)
    return {
        "CROCBOT_AGENT": "python",
        "CROCBOT_AGENT_FUNCTION": "an_agent:answer",
        "CROCBOT_DRAIN_SECONDS": "0",
        "PYTHONPATH": f"{world.home}:{ROOT}",
    }


async def run(world: World, *arguments: str, **settings: str) -> tuple[int, str]:
    """Run a command to its end; return its exit code and output."""
    command = await world.start(
        "crocbot", *arguments, **{**world.settings(), **settings}
    )
    code = await command.process.wait()
    return code, command.output.read_text()


def open_rows(world: World) -> int:
    """Return the number of open rows of the file."""
    with opened(world.database, [SCHEMA]) as connection:
        return sql.state(connection).open


@pytest.mark.parametrize("crashes", [False, True])
async def test_a_move(world: World, database_url: str, crashes: bool) -> None:
    """What was open in the file is answered with the database, in order and once."""
    chosen = with_agent(world)
    gateway = await world.start_gateway(**chosen)
    world.server.send(EVE, "before")
    await world.eventually(lambda: world.replies.to(EVE) == ["before!"])
    for person, texts in TEXTS.items():
        for text in texts:
            world.server.send(person, text)
    await world.eventually(lambda: open_rows(world) == 4)
    refused = await run(world, "database", "move", CROCBOT_DATABASE_URL=database_url)
    assert refused[0] == 2
    assert "another crocbot gateway works in" in refused[1]
    if crashes:
        gateway.process.kill()
        await gateway.process.wait()
    else:
        assert await gateway.stop() == 0
    code, _ = await run(world, "send", "9", "pushed")
    assert code == 0
    content = world.database.read_bytes()

    code, text = await run(world, "database", "move", CROCBOT_DATABASE_URL=database_url)
    assert code == 0, text
    assert "accepted 5 = answered 1 + " in text
    assert "+ open 4" in text
    assert world.database.read_bytes() == content
    (world.home / "go").touch()
    chosen["CROCBOT_DATABASE_URL"] = database_url
    gateway = await world.start_gateway(**chosen)
    expected = {
        person: [f"{text}!" for text in texts] for person, texts in TEXTS.items()
    }
    expected[EVE] = ["before!", "pushed"]
    await world.eventually(
        lambda: {person: world.replies.to(person) for person in expected} == expected
    )

    async def all_closed() -> bool:
        code, text = await run(world, "inbox", CROCBOT_DATABASE_URL=database_url)
        assert code == 0
        return text.startswith("open: 0\n") and "accepted 5 = answered 5 + " in text

    await world.eventually(all_closed)
    world.server.send(ADA, "after")
    await world.eventually(lambda: world.replies.to(ADA)[-1] == "after!")
    refused = await run(world, "database", "move", CROCBOT_DATABASE_URL=database_url)
    assert refused[0] == 2
    assert await gateway.stop() == 0
    assert {person: world.replies.to(person) for person in expected} == {
        **expected,
        ADA: [*expected[ADA], "after!"],
    }


async def test_nothing_shows_the_password(world: World) -> None:
    """No log, page, metric, command or process title has it, while all fails."""
    with Cluster() as cluster:
        url = create_user(cluster)
        await world.start_bridge()
        chosen = {"CROCBOT_LOG_LEVEL": "debug", "CROCBOT_DATABASE_URL": url}
        gateway = await world.start_gateway(**chosen)
        await world.exchange("hello")
        shown = [title(gateway.process.pid), await pages(world)]
        shown.append(await commands(world, chosen, *COMMANDS))
        wrong = {**chosen, "CROCBOT_DATABASE_URL": url.replace(ENCODED, f"{ENCODED}x")}
        shown.append(await commands(world, wrong, *COMMANDS[:4]))
        second = await world.start(
            "crocbot",
            "gateway",
            **{**world.settings(), **wrong, "CROCBOT_STATE_DIR": str(world.home / "2")},
        )
        assert await second.process.wait() == 2
        await asyncio.to_thread(cluster.kill)
        world.server.send(ADA, "while it is away")
        await world.eventually(lambda: readiness_fails(world))
        shown += [await pages(world), await commands(world, chosen, *COMMANDS[:4])]
        await asyncio.to_thread(cluster.start)
        await world.eventually(
            lambda: world.replies.to(ADA)[-1:] == ["while it is away"]
        )
        shown.append(await pages(world))
        assert await gateway.stop() == 0
    shown += [child.read_text() for child in (gateway.output, second.output)]
    text = "\n".join(shown)

    assert "debug" in text
    assert "password authentication failed" in text
    assert [secret for secret in SECRETS if secret in text] == []


def create_user(cluster: Cluster) -> str:
    """Return the URL of a database whose owner has a password with such characters."""
    cluster.execute(f"CREATE ROLE owner LOGIN PASSWORD '{PASSWORD}'")
    cluster.execute("CREATE DATABASE of_owner OWNER owner")
    return cluster.url("of_owner", user="owner", password=ENCODED)


def title(pid: int) -> str:
    """Return the command line of a process, as all users see it."""
    return Path(f"/proc/{pid}/cmdline").read_text()


async def commands(
    world: World, chosen: Mapping[str, str], *lines: Sequence[str]
) -> str:
    """Return what commands print."""
    return "\n".join([(await run(world, *line, **chosen))[1] for line in lines])


async def pages(world: World) -> str:
    """Return all pages of the gateway, and that of its metrics."""
    found = [await world.text()]
    async with aiohttp.ClientSession() as session:
        for path in ("/readyz", "/healthz", "/status"):
            async with session.get(f"{world.health_url}{path}") as answer:
                found.append(await answer.text())
    return "\n".join(found)


async def readiness_fails(world: World) -> bool:
    """Return whether the gateway says that it stores nothing."""
    return "[-]inbox" in await pages(world)
