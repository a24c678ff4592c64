"""`crocbot init` in a real terminal, against the sandbox."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crocbot.sandbox import Person
from crocbot.settings.files import read_dotenv
from tests.end_to_end.programs import Run
from tests.end_to_end.terminal import TerminalProgram
from tests.end_to_end.world import World
from tests.ports import HOST, free_port

pytestmark = pytest.mark.end_to_end

ADA = Person(1001, "Ada\u202e\x1b[31m", "ada")
MALLORY = Person(666, "Mallory")
OLD = "# mine\nCROCBOT_AGENT=http # the old one\nCROCBOT_AGENT_URL=http://x/\nOTHER=1\n"

Init = Callable[..., TerminalProgram]


@pytest.fixture
def init(tmp_path: Path, world: World) -> Iterator[Init]:
    """Start the command in a folder of its own."""
    started = []
    home = tmp_path / "home"
    home.mkdir()

    def start(*arguments: str, **settings: str) -> TerminalProgram:
        quiet = {
            "CROCBOT_TELEGRAM_API_URL": world.server.url,
            "CROCBOT_STATSD_HOST": "off",
            "CROCBOT_STATE_DIR": str(tmp_path / "state"),
            "CROCBOT_HEALTH_ADDRESS": f"{HOST}:{world.health_port}",
        }
        program = TerminalProgram(
            "crocbot", "init", *arguments, home=home, settings={**quiet, **settings}
        )
        started.append(program)
        return program

    yield start
    for program in started:
        program.close()


def env_file(tmp_path: Path) -> Path:
    """Return the file that the command writes."""
    return tmp_path / "home" / ".env"


async def test_the_first_answer(tmp_path: Path, world: World, init: Init) -> None:
    """Wrong tokens are refused; the writer is shown, let in, and then answered."""
    replies: list[tuple[int, str]] = []
    world.server.listen(lambda sent: replies.append((sent["chat"]["id"], sent["text"])))
    program = init()
    await program.answer("(hidden)", "123 456")
    await program.expect("it has a blank in it")
    await program.answer("(hidden)", "123456:unknown")
    await program.expect("Telegram refused the token")
    await program.answer("(hidden)", world.server.token)
    await program.expect("this is the token of @sandbox_croc_bot")
    await program.expect("waiting for a message")
    world.server.send(MALLORY, "let me in")
    await program.expect("user id 666, no username, name 'Mallory'")
    await program.answer("Is this you", "n")
    world.server.send(ADA, "it is me")
    await program.expect(r"user id 1001, @ada, name 'Ada\u202e\x1b[31m'")
    await program.answer("Is this you", "y")
    await program.answer("Agent", "Echo")
    await program.answer("Write ", "y")
    await program.expect("mode 600")
    await program.expect("ok: telegram: @sandbox_croc_bot")
    await program.answer("Start the gateway now", "start")
    await world.eventually(lambda: (1001, "it is me") in replies)
    program.interrupt()

    assert await program.end() == 0
    assert world.server.token not in program.seen
    assert "\u202e" not in program.seen
    assert [text for chat, text in replies if chat == 666] == []
    file = env_file(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_dotenv(file)[0] == {
        "telegram_bot_token": world.server.token,
        "crocbot_allow_from": "1001",
        "crocbot_agent": "echo",
    }


async def test_an_env_file_that_exists(
    tmp_path: Path, world: World, init: Init
) -> None:
    """It shows what would change, asks, and keeps a copy and the other lines."""
    file = env_file(tmp_path)
    file.write_text(OLD + f"TELEGRAM_BOT_TOKEN={world.server.token}\n")
    before = file.read_text()
    flags = ("--allow", "7,8", "--agent", "echo")
    program = init(*flags)
    await program.answer("Keep the token", "")
    await program.expect("- CROCBOT_AGENT=http")
    await program.expect("+ CROCBOT_AGENT=echo")
    await program.expect("+ CROCBOT_ALLOW_FROM=7,8")
    await program.answer("Change ", "n")
    assert await program.end() == 1
    assert "nothing was written" in program.seen
    assert list(file.parent.iterdir()) == [file]
    assert file.read_text() == before

    again = init(*flags, "--force", "--yes")
    assert await again.end() == 0, again.seen
    assert file.read_text() == (
        before.replace("=http #", "=echo #") + "CROCBOT_ALLOW_FROM=7,8\n"
    )
    copy = file.with_name(".env.bak")
    assert copy.read_text() == before
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


@pytest.mark.parametrize("question", ["(hidden)", "waiting for", "Agent", "Write "])
async def test_ctrl_c(question: str, tmp_path: Path, world: World, init: Init) -> None:
    """At any question it ends with one line, and nothing is written."""
    program = init()
    answers = {
        "(hidden)": world.server.token,
        "waiting for": None,
        "Is this you": "y",
        "Agent": "",
        "Write ": "",
    }
    if question in {"Agent", "Write "}:
        world.server.send(ADA, "hello")
    for asked, line in answers.items():
        if asked == question:
            await program.expect(question)
            program.interrupt()
            break
        if line is not None:
            await program.answer(asked, line)
    assert await program.end() == 1
    assert "nothing was written" in program.seen
    assert list((tmp_path / "home").iterdir()) == []
    assert "Traceback" not in program.seen


async def test_the_agent_openai(tmp_path: Path, world: World, init: Init) -> None:
    """Its server, model and hidden key are asked; a wrong URL is asked again."""
    (tmp_path / "token").write_text(world.server.token)
    url = f"http://{HOST}:{free_port()}/v1"
    program = init("--token-file", str(tmp_path / "token"), "--allow", "7")
    await program.answer("Agent", "openai")
    await program.answer("Base URL", f"{url}/chat/completions")
    await program.expect("which the gateway adds")
    await program.answer("Base URL", url)
    await program.answer("Model", "llama 3")
    await program.answer("API key", "sk-secret")
    await program.answer("Write ", "")
    await program.expect("agent: ")
    await program.answer("Start the gateway now", "nothing")

    assert await program.end() == 1
    assert "sk-secret" not in program.seen
    assert read_dotenv(env_file(tmp_path))[0] == {
        "telegram_bot_token": world.server.token,
        "crocbot_allow_from": "7",
        "crocbot_agent": "openai",
        "openai_base_url": url,
        "crocbot_model": "llama 3",
        "openai_api_key": "sk-secret",
    }


async def test_wrong_settings(tmp_path: Path, world: World, init: Init) -> None:
    """What is wrong in `.env` is named, asked for again, and mended."""
    env_file(tmp_path).write_text(
        "TELEGRAM_BOT_TOKEN=bot 1\nTELEGRAM_BOT_TOKEN_FILE=/x\nCROCBOT_AGENT=ehco\n"
        "CROCBOT_ALLOW_FROM=ada\n"
    )
    program = init("--allow", "7", "--force")
    await program.expect("not kept: ")
    await program.answer("(hidden)", world.server.token)
    await program.answer("Agent", "")
    await program.answer("Start the gateway now", "nothing")

    assert await program.end() == 0
    assert read_dotenv(env_file(tmp_path))[0] == {
        "telegram_bot_token": world.server.token,
        "crocbot_agent": "echo",
        "crocbot_allow_from": "7",
    }


SYSTEMCTL = """#!/bin/sh
echo "$*" >> {log}
[ -z "$FAILS" ] || { echo "no bus" >&2; exit 1; }
"""


async def test_a_user_unit(tmp_path: Path, world: World, init: Init) -> None:
    """It is written, shown before it is replaced, and enabled only after a yes."""
    (tmp_path / "token").write_text(world.server.token)
    log = tmp_path / "log"
    program = tmp_path / "systemctl"
    program.write_text(SYSTEMCTL.replace("{log}", str(log)))
    program.chmod(0o755)
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    flags = ("--token-file", str(tmp_path / "token"), "--allow", "7", "--agent", "echo")
    failed = init(*flags, "--yes", "--service", FAILS="1", **path)
    assert await failed.end() == 2
    assert "systemd does not run services of this user: no bus" in failed.seen
    assert not (tmp_path / "home" / ".config").exists()

    first = init(*flags, **path)
    await first.answer("Start the gateway now", "service")
    await first.answer("Enable it, and start it now?", "n")
    assert await first.end() == 0
    unit = tmp_path / "home/.config/systemd/user/crocbot.service"
    assert f"WorkingDirectory={tmp_path}/home\n" in unit.read_text()
    assert "enable" not in log.read_text()

    unit.write_text("[Service]\nExecStart=/bin/mine\n")
    second = init(*flags, "--service", **path)
    await second.expect("ExecStart=/bin/mine")
    await second.answer("Replace ", "y")
    await second.answer("Enable it, and start it now?", "y")
    assert await second.end() == 0
    assert log.read_text().endswith("--user enable --now crocbot.service\n")


async def test_another_poller(world: World, init: Init) -> None:
    """Another poller is one sentence; then the id can be typed."""
    program = init()
    await program.answer("(hidden)", world.server.token)
    await program.expect("waiting for")
    await world.eventually(lambda: world.server.calls["getupdates"])
    gateway = await world.start_gateway()
    await program.expect("another program receives this bot's messages")
    await gateway.stop()
    await program.answer("Your Telegram user id", "-100")
    await program.expect("is a group's id")
    await program.expect("waiting for")
    program.interrupt()
    assert await program.end() == 1


async def test_without_a_terminal(tmp_path: Path, world: World, run: Run) -> None:
    """It names all that is missing; with all flags it writes the file."""
    settings = world.settings() | {"CROCBOT_STATSD_HOST": "off"}
    for name in ("TELEGRAM_BOT_TOKEN", "CROCBOT_ACCESS"):
        del settings[name]

    async def crocbot(*words: str) -> tuple[int, str, str]:
        program = run("crocbot", "init", *words, **settings)
        return await asyncio.to_thread(program.end)

    code, _, errors = await crocbot()
    assert code == 2
    assert errors == (
        "crocbot: crocbot init asks in a terminal, and there is none; without one it"
        " needs --token-file FILE, --allow USER_ID, --agent NAME, --yes\n"
    )
    (tmp_path / "token").write_text(f"{world.server.token}\n")
    flags = ("--token-file", "token", "--allow", "7", "--yes")
    command = """sh -c 'echo "$1" works' -"""
    code, output, errors = await crocbot(
        *flags, "--agent", "command", "--agent-command", command
    )
    assert (code, errors) == (0, "")
    assert world.server.token not in output
    assert output.endswith("start it with: crocbot gateway\n")
    code, output, errors = await crocbot(*flags, "--agent", "echo")
    assert code == 2
    assert "+ CROCBOT_AGENT=echo" in output
    assert "give --force" in errors
    assert read_dotenv(tmp_path / ".env")[0]["crocbot_agent"] == "command"
