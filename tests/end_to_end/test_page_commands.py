"""The commands on the pages of the first hour and of operating, as they are printed."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crocbot.settings.files import read_dotenv
from tests.end_to_end.terminal import TerminalProgram
from tests.end_to_end.world import World

pytestmark = pytest.mark.end_to_end

DOCS = Path(__file__).parents[2] / "docs"
RESTORE = "crocbot restore crocbot-copy.sqlite3"
# The commands of systemd are not run; `crocbot init` alone is in test_init.py.
FIRST_HOUR = [
    "crocbot init",
    "crocbot init --token-file token --allow 123456 --agent http"
    " --agent-url http://127.0.0.1:8000/ --yes",
]
OPERATIONS = [
    "crocbot status",
    'crocbot inbox retry --reason "chat not found" --since 2h',
    "crocbot inbox retry --chat -1001234 --since 2026-01-31T12:00",
    "crocbot inbox drop --reason blocked --since 1d",
    "crocbot backup crocbot-copy.sqlite3",
    RESTORE,
]

Terminal = Callable[..., TerminalProgram]


def commands(page: str) -> list[str]:
    """Return the lines of a page's examples that run crocbot."""
    examples = re.findall(r"^```\n(.*?)^```", (DOCS / page).read_text(), re.M | re.S)
    lines = [line for example in examples for line in example.splitlines()]
    return [line for line in lines if line.startswith("crocbot ")]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """Run commands, as they are printed, in a terminal."""
    started = []

    def start(command: str, **settings: str) -> TerminalProgram:
        program = TerminalProgram(
            *shlex.split(command), home=tmp_path, settings=settings
        )
        started.append(program)
        return program

    yield start
    for program in started:
        program.close()


def test_the_pages_have_no_other_commands() -> None:
    """What is run here is what the pages show."""
    assert commands("first-hour.md") == FIRST_HOUR
    assert commands("operations.md") == OPERATIONS


async def test_operating(world: World, terminal: Terminal) -> None:
    """Each command works beside the gateway; a restore works after its end."""
    gateway = await world.start_gateway()
    await world.exchange("hello")
    for command in commands("operations.md"):
        if command == RESTORE:
            continue
        # `crocbot status` says so if the disk was slow for two seconds.
        await world.eventually(world.is_ready)
        done = terminal(command, **world.settings())
        assert await done.end() == 0, (command, done.seen)
    assert await gateway.stop() == 0
    restore = terminal(RESTORE, **world.settings())
    await restore.answer("Restore crocbot-copy.sqlite3 to ", "y")
    assert await restore.end() == 0


async def test_the_first_hour(world: World, terminal: Terminal, tmp_path: Path) -> None:
    """The command with all flags writes `.env`; the agent is not there: exit code 1."""
    (tmp_path / "token").write_text(world.server.token)
    settings = {
        name: value
        for name, value in world.settings().items()
        if name not in {"TELEGRAM_BOT_TOKEN", "CROCBOT_ACCESS"}
    }
    command = commands("first-hour.md")[1]
    init = terminal(command, **settings)

    async with asyncio.timeout(60):
        assert await init.end() == 1
    assert "cannot connect to the agent" in init.seen
    assert read_dotenv(tmp_path / ".env")[0]["crocbot_allow_from"] == "123456"
