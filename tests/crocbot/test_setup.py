"""The first run: who wrote to the bot, and the systemd user unit."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import aiohttp
import pytest

from crocbot.errors import CrocbotError, OperatorError, TelegramError
from crocbot.sandbox import Person, Server, faults
from crocbot.sandbox.messages import Chat
from crocbot.settings.fields import NAMES, REQUIRED_FIELDS
from crocbot.settings.values import AgentName
from crocbot.setup import unit
from crocbot.setup.agents import AGENT_SETTINGS
from crocbot.setup.senders import MAX_UPDATES, Sender, Senders, identify
from crocbot.setup.unit import UserUnit, unit_text

PATH = "/usr/local/bin:/usr/bin:/bin"
ADA = Person(7, "Ada", "ada")
BOB = Person(8, "Bob")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Run a Bot API server."""
    async with Server() as server:
        yield server


async def test_the_bot_of_a_token(server: Server) -> None:
    """A known token has a bot; another one is refused."""
    bot = await identify(server.token, server.url)
    assert bot.username == "sandbox_croc_bot"
    with pytest.raises(OperatorError, match="Telegram refused the token"):
        await identify("1:unknown", server.url)


async def test_each_person_once(server: Server) -> None:
    """People come in the order of their first messages; no update is confirmed."""
    server.send(ADA, "in a group", Chat(-5, "group"))
    server.push({"edited_message": {"from": {"id": 9}, "chat": {"type": "private"}}})
    server.push({"message": {"from": {"id": "9"}, "chat": {"type": "private"}}})
    server.push({"message": ["x"]})
    server.send(ADA, "one")
    server.send(ADA, "two")
    server.send(BOB, "three")
    senders = Senders(server.token, server.url)

    assert await senders.next() == Sender(7, "Ada", "ada")
    assert await senders.next() == Sender(8, "Bob", "")
    assert server.pending == 7


async def test_a_later_message(server: Server) -> None:
    """Pending updates are polled with pauses, until a person appears."""
    server.push({"message": {}})
    paused = []

    async def sleep(seconds: float) -> None:
        paused.append(seconds)
        server.send(BOB, "late")

    senders = Senders(server.token, server.url, sleep=sleep)
    assert (await senders.next()).user_id == 8
    assert paused == [1.0]


async def test_too_many_updates(server: Server) -> None:
    """Beyond the bound a new message cannot be seen, which is an error."""
    for _ in range(MAX_UPDATES):
        server.send(ADA, "hello")
    senders = Senders(server.token, server.url)
    await senders.next()

    with pytest.raises(OperatorError, match="100 updates wait for this bot already"):
        await senders.next()


async def test_a_webhook(server: Server) -> None:
    """A webhook that is set is an error, and stays set."""
    await server_call(server, "setWebhook", url="https://bot.example.org/x")
    with pytest.raises(OperatorError, match="a webhook is set for this bot"):
        await Senders(server.token, server.url).next()


async def test_a_flood_wait(server: Server) -> None:
    """It is waited for as long as Telegram asks."""
    server.fault("getUpdates", faults.flood_wait(3))
    server.send(ADA, "hello")
    paused = []

    async def sleep(seconds: float) -> None:
        paused.append(seconds)

    assert (await Senders(server.token, server.url, sleep=sleep).next()).user_id == 7
    assert paused == [3.0]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.api_error(500, "no"), TelegramError),
        (faults.api_error(400, "Bad Request: no"), OperatorError),
        (faults.api_error(409, faults.OTHER_POLLER), OperatorError),
    ],
)
async def test_a_failed_poll(
    server: Server, fault: faults.Fault, error: type[CrocbotError]
) -> None:
    """It ends the wait, and the next one finds the person."""
    server.send(ADA, "hello")
    server.fault("getUpdates", fault)
    senders = Senders(server.token, server.url)

    with pytest.raises(error):
        await senders.next()
    assert (await senders.next()).user_id == 7


async def server_call(server: Server, method: str, **values: str) -> None:
    """Call a method of the server."""
    url = f"{server.url}/bot{server.token}/{method}"
    async with aiohttp.ClientSession() as session, session.post(url, data=values) as r:
        assert r.status == 200


def test_every_agent_has_its_questions() -> None:
    """Each agent is known, and what it requires is asked for."""
    assert list(AGENT_SETTINGS) == list(get_args(get_args(AgentName)[0]))
    for agent, fields in REQUIRED_FIELDS.items():
        asked = {NAMES[one.name] for one in AGENT_SETTINGS[agent]}
        assert set(fields) <= asked


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """Paths with blanks and specifiers are quoted as systemd reads them."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing: it comes with systemd")
    folder = tmp_path / "my %h bot"
    folder.mkdir()
    program = folder / "python 3"
    program.symlink_to(sys.executable)
    file = tmp_path / "crocbot.service"
    file.write_text(unit_text(folder, program))
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", file],
        env={"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path), "PATH": PATH},
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")
    with pytest.raises(OperatorError, match="cannot read a path"):
        unit_text(Path("/a\nb"), program)
    with pytest.raises(OperatorError, match="cannot read a path"):
        unit_text(folder, Path("/it's"))


SYSTEMCTL = """#!/bin/sh
echo "$*" >> {log}
[ "$2" != {fails} ] || {{ echo "no bus" >&2; exit 1; }}
"""


@pytest.mark.parametrize(
    ("fails", "reason"),
    [
        ("nothing", None),
        ("show-environment", "systemd does not run services of this user: no bus"),
    ],
)
def test_the_user_manager(
    fails: str, reason: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit is written as a whole and read; it is enabled only when asked."""
    program, log = tmp_path / "systemctl", tmp_path / "log"
    program.write_text(SYSTEMCTL.format(log=log, fails=fails))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    user_unit = UserUnit.in_home("relative", str(tmp_path))

    assert user_unit.missing_manager() == reason
    assert user_unit.present() is None
    user_unit.write("text")
    assert user_unit.file == tmp_path / ".config/systemd/user" / unit.NAME
    assert user_unit.present() == "text"
    assert [each.name for each in user_unit.file.parent.iterdir()] == [unit.NAME]
    assert stat.S_ISREG(user_unit.file.stat().st_mode)
    assert log.read_text() == "--user show-environment\n--user daemon-reload\n"
    user_unit.enable()
    assert log.read_text().endswith(f"--user enable --now {unit.NAME}\n")


def test_without_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so; and a failure of systemctl is an error."""
    monkeypatch.setenv("PATH", str(tmp_path))
    user_unit = UserUnit.in_home(str(tmp_path), "/nowhere")

    assert user_unit.missing_manager() == "there is no systemd on this machine"
    with pytest.raises(OperatorError, match=r"systemctl --user enable .* failed"):
        user_unit.enable()
