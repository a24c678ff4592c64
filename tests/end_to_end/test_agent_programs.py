"""Agent programs that try to outlive their turn, or to learn secrets."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crocbot import linux
from crocbot.sandbox import Person
from tests.end_to_end.programs import wait_gone
from tests.end_to_end.world import World

pytestmark = pytest.mark.skipif(not linux.IS_LINUX, reason="the system is not Linux")
ADA = Person(1001, "Ada")

# Starts a process with a session of its own, as a daemon, and says so.
DAEMON = """
import os, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        pathlib.Path("{pids}").write_text(f"{{os.getpid()}} {{os.getppid()}}")
        time.sleep(600)
    time.sleep(600)
while not pathlib.Path("{pids}").exists() or not pathlib.Path("{pids}").read_text():
    time.sleep(0.01)
with open("{pids}", "a") as file:
    file.write(f" {{os.getpid()}} {{os.getppid()}}")
print("I begin", flush=True)
{then}
"""
FOREVER = "time.sleep(600)"
KILLS_SUPERVISOR = "os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)"


class DaemonProgram:
    """A program that starts a daemon and writes the ids of all its processes."""

    def __init__(self, home: Path, then: str) -> None:
        self._pids = home / "pids"
        self.file = home / "answer.py"
        self.file.write_text(DAEMON.format(pids=self._pids, then=then))

    @property
    def settings(self) -> dict[str, str]:
        """Return the settings of a gateway with this program."""
        return {
            "CROCBOT_AGENT": "command",
            "CROCBOT_AGENT_COMMAND": f"{sys.executable} {self.file}",
            "CROCBOT_STATSD_HOST": "off",
        }

    async def all_end(self) -> bool:
        """Return whether all processes end."""
        pids = list(map(int, self._pids.read_text().split()))
        gone = [await asyncio.to_thread(wait_gone, pid) for pid in pids]
        return len(pids) == 4 and all(gone)


@pytest.mark.parametrize(
    ("then", "settings"),
    [
        ("", {}),
        ("raise SystemExit(1)", {}),
        (FOREVER, {"CROCBOT_AGENT_TOTAL_SECONDS": "15"}),
        (KILLS_SUPERVISOR, {}),
    ],
)
async def test_the_end_of_a_turn(
    world: World, tmp_path: Path, then: str, settings: dict[str, str]
) -> None:
    """No process that a program has started outlives its turn, however that ends."""
    program = DaemonProgram(tmp_path, then)
    gateway = await world.start_gateway(**program.settings, **settings)
    world.server.send(ADA, "begin")
    await world.eventually(lambda: world.replies.to(ADA)[:1] == ["I begin"])

    assert await program.all_end()
    assert await gateway.stop() == 0


async def test_stop(world: World, tmp_path: Path) -> None:
    """/stop ends all of it."""
    program = DaemonProgram(tmp_path, FOREVER)
    await world.start_gateway(**program.settings)
    world.server.send(ADA, "begin")
    await world.eventually(lambda: world.server.draft(ADA) == "I begin")
    world.server.send(ADA, "/stop")
    await world.eventually(lambda: world.replies.to(ADA)[-1:] == ["Stopped."])

    assert await program.all_end()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT, signal.SIGTERM])
async def test_the_end_of_the_gateway(
    world: World, tmp_path: Path, number: signal.Signals
) -> None:
    """Nothing of a program goes on without the gateway, which may have been killed."""
    program = DaemonProgram(tmp_path, FOREVER)
    settings = program.settings | {"CROCBOT_DRAIN_SECONDS": "0.2"}
    gateway = await world.start_gateway(**settings)
    world.server.send(ADA, "begin")
    await world.eventually(lambda: world.server.draft(ADA) == "I begin")
    gateway.process.send_signal(number)
    await gateway.process.wait()

    assert await program.all_end()


CURIOUS = """
import os, pathlib, re
pid = os.getpid()
while pid > 1:
    folder = pathlib.Path(f"/proc/{pid}")
    pid = int(re.search(r"PPid:\\s*(\\d+)", (folder / "status").read_text())[1])
    for name in ("environ", "cmdline"):
        try:
            print((folder / name).read_bytes().replace(b"\\0", b"\\n").decode())
        except OSError as error:
            print(error)
print("That is all.")
"""


async def test_a_curious_program(world: World, tmp_path: Path) -> None:
    """What a program reads of the environment of the gateway is in no reply."""
    await world.start_gateway(**curious(tmp_path))
    world.server.send(ADA, "what do you know?")
    await world.eventually(lambda: "That is all." in "".join(world.replies.to(ADA)))
    shown = "".join(world.replies.to(ADA))

    assert "CROCBOT_CHAT" in shown
    assert world.server.token.partition(":")[2] not in shown
    assert "hush-agent-hush" not in shown


def curious(home: Path) -> dict[str, str]:
    """Return the settings of a gateway with a program that reads what it can."""
    program = home / "answer.py"
    program.write_text(CURIOUS)
    return {
        "CROCBOT_AGENT": "command",
        "CROCBOT_AGENT_COMMAND": f"{sys.executable} {program}",
        "CROCBOT_AGENT_SECRET": "hush-agent-hush",
        "CROCBOT_STATSD_HOST": "off",
    }


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="there is no setpriv")
async def test_the_memory_is_private(world: World, tmp_path: Path) -> None:
    """A program of the same user, root without its rights, reads no environment."""
    drop = ("--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
    process = await asyncio.create_subprocess_exec(
        *("setpriv", *drop, sys.executable, "-m", "crocbot", "gateway"),
        env={**os.environ, **world.settings(), **curious(tmp_path)},
        cwd=Path(linux.__file__).parents[1],
        stderr=subprocess.DEVNULL,
    )
    try:
        await world.eventually(lambda: world.server.calls["getupdates"])
        world.server.send(ADA, "what do you know?")
        await world.eventually(lambda: "That is all." in "".join(world.replies.to(ADA)))
        shown = "".join(world.replies.to(ADA))
        assert f"Permission denied: '/proc/{process.pid}/environ'" in shown
        assert "TELEGRAM_BOT_TOKEN" not in shown
    finally:
        process.terminate()
        await process.wait()
