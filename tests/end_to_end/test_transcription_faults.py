"""Every fault of the server of transcriptions in the table of docs/operations.md."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from crocbot.sandbox import Person, messages
from crocbot.turn.messages import LONG_RECORDING, NOT_TRANSCRIBED
from tests.crocbot.transcription_server import (
    KEY,
    Answer,
    TranscriptionServer,
    body,
    endless,
    failure,
    redirect,
    silent,
)
from tests.end_to_end.world import World
from tests.ports import HOST, free_port

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
ADA, BOB = Person(1001, "Ada"), Person(1002, "Bob")
REFUSED = "refuses connections"
LATER = (
    "Sorry, I cannot turn recordings into words at the moment. Please try again in 5"
    " minutes, or write to me."
)
FAULTS: dict[str, tuple[Answer | None, str]] = {
    REFUSED: (None, NOT_TRANSCRIBED),
    "refuses the key": (
        failure(401, f"Incorrect API key provided: {KEY}"),
        NOT_TRANSCRIBED,
    ),
    "asks to wait for minutes": (
        failure(429, "Rate limit reached", Retry_After="300"),
        LATER,
    ),
    "fails": (failure(500, "flux too low"), NOT_TRANSCRIBED),
    "never ends its answer": (endless(), LONG_RECORDING),
    "answers with other JSON": (body('{"words": []}'), NOT_TRANSCRIBED),
    "says nothing": (silent, NOT_TRANSCRIBED),
    "redirects the request": (redirect("http://127.0.0.1:1/"), NOT_TRANSCRIBED),
}


def table() -> dict[str, list[str]]:
    """Return log words, outcome and severity of each fault on the page."""
    title = "## When a recording cannot be turned into words"
    _, _, rest = PAGE.read_text().partition(title)
    lines = [line for line in rest.partition("\n## ")[0].splitlines() if "| `" in line]
    cells = [[cell.strip(" `") for cell in line[1:-1].split("|")] for line in lines]
    return {fault: words for fault, _, *words in cells[1:]}


def test_the_page_has_every_fault() -> None:
    """The page and this file have the same faults."""
    assert set(table()) == set(FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault(world: World, fault: str) -> None:
    """The person gets a sentence, others are answered; log and metrics have it."""
    answer, sentence = FAULTS[fault]
    words, outcome, severity = table()[fault]
    world.server.upload("voice", b"OggS")
    await world.start_bridge()
    async with TranscriptionServer() as server:
        server.default = answer or server.default
        refusing = f"http://{HOST}:{free_port()}/v1"
        gateway = await world.start_gateway(
            CROCBOT_TRANSCRIBE_URL=refusing if fault == REFUSED else server.url,
            CROCBOT_TRANSCRIBE_API_KEY=KEY,
            CROCBOT_AGENT_TOTAL_SECONDS="3" if answer is silent else "60",
        )
        world.server.send(ADA, messages.voice())
        world.server.send(BOB, "hello")
        await world.eventually(lambda: world.replies.to(BOB) == ["hello"])
        await world.eventually(lambda: world.replies.to(ADA) == [sentence])
        # The sentence may be sent before the error is logged.
        await world.eventually(lambda: words in gateway.output.read_text())
        log = gateway.output.read_text()

    assert KEY not in log
    assert "Traceback" not in log

    async def counted() -> bool:
        outcomes = Counter(await world.values("crocbot_transcriptions_total"))
        errors = await world.values("crocbot_errors_total")
        turns = await world.values("crocbot_turns_total")
        return (
            outcomes[outcome] == outcomes.total() == 1
            and errors[f"{severity} transcription"] == 1
            and turns["failed"] == 1
        )

    await world.eventually(counted)
