"""Every fault of an agent in the table of docs/operations.md, with the agent `http`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from aiohttp import web

from crocbot.sandbox import Person
from crocbot.turn.messages import ERROR_MESSAGES
from crocbot.turn_outcomes import AgentErrorReason as Reason
from tests.crocbot.fakes import Handler, serving, streaming
from tests.end_to_end.world import World

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
EVENTS = "text/event-stream"


async def redirect(_: web.Request) -> web.StreamResponse:
    """Answer with a redirect to another server."""
    return web.Response(status=307, headers={"Location": "http://127.0.0.1:1/"})


def faults() -> dict[str, list[str]]:
    """Return log words, reason and severity of each fault on the page."""
    _, _, rest = PAGE.read_text().partition("## When another agent fails")
    lines = [line for line in rest.partition("\n## ")[0].splitlines() if "| `" in line]
    cells = [[cell.strip(" `") for cell in line[1:-1].split("|")] for line in lines]
    return {fault: words for fault, _, *words in cells[1:]}


async def test_what_people_get(world: World) -> None:
    """Each person gets what arrived and a sentence; log and metrics have the reason."""
    agents: dict[str, tuple[Handler, list[str]]] = {
        "redirects the request": (redirect, [ERROR_MESSAGES[Reason.OPERATOR]]),
        "never ends an event": (
            streaming(EVENTS, *[b"data: " + b"x" * 65_536 + b"\n"] * 20),
            [ERROR_MESSAGES[Reason.TOO_LONG]],
        ),
        "names an error in an event": (
            streaming(
                EVENTS,
                b"data: Half a\n\n",
                b'event: error\ndata: {"error": "database is down"}\n\n',
            ),
            ["Half a", ERROR_MESSAGES[Reason.FAILED]],
        ),
        "breaks off in the middle": (
            streaming("text/plain", b"Half a", cut=True),
            ["Half a", ERROR_MESSAGES[Reason.FAILED]],
        ),
        "writes the bot's token": (
            streaming("text/plain", f"It is {world.server.token}.".encode()),
            ["It is [redacted]."],
        ),
    }
    page = faults()
    assert set(page) == set(agents)
    people = {name: Person(2000 + n, "Ada") for n, name in enumerate(agents)}
    by_chat = {str(people[name].user_id): agent for name, (agent, _) in agents.items()}

    async def answer(request: web.Request) -> web.StreamResponse:
        return await by_chat[(await request.json())["chat"]](request)

    await world.start_bridge()
    async with serving({"POST /": answer}) as address:
        gateway = await world.start_gateway(
            CROCBOT_AGENT="http", CROCBOT_AGENT_URL=f"http://{address}/"
        )
        for name, person in people.items():
            world.server.send(person, name)
        await world.eventually(
            lambda: (
                {name: world.replies.to(each) for name, each in people.items()}
                == {name: replies for name, (_, replies) in agents.items()}
            )
        )

    reasons = Counter(reason for _, reason, _ in page.values() if reason)
    severities = Counter(severity for *_, severity in page.values() if severity)

    await world.eventually(lambda: world.counted(reasons, severities))
    log = gateway.output.read_text()
    assert [words for words, *_ in page.values() if words not in log] == []
    assert world.server.token not in log
