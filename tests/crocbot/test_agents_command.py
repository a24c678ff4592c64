"""A program that answers: real processes, and none of them is left."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from crocbot.agents.answer import AnswerReader, Limits
from crocbot.agents.command import Command
from crocbot.errors import AgentError
from crocbot.events import AgentErrorReason
from crocbot.model import Attachment, ChatThread, Message, MessageType, Prompt

ENVIRONMENT = {"PATH": os.environ["PATH"]}
PATIENT = Limits(30.0, 30.0)
MESSAGE = Message(
    *(1, ChatThread(-5, 4), 1, 7, False, MessageType.MEDIA, "Grüße 🐊", None, 0.0),
    (Attachment("photo", "photo, 2x1"),),
)


def hear(
    script: str, limits: Limits = PATIENT, message: Message = MESSAGE
) -> tuple[str, AgentError | None]:
    """Let a Python script answer."""
    agent = Command([sys.executable, "-c", script], ENVIRONMENT)
    hearing = AnswerReader(agent, Prompt(message), limits)

    async def run() -> AgentError | None:
        try:
            async for _ in hearing.pieces():
                pass
        except AgentError as error:
            return error
        return None

    error = asyncio.run(asyncio.wait_for(run(), 60))
    return hearing.text, error


def test_the_message_goes_in_and_the_answer_comes_out() -> None:
    """The message is on stdin, in words; the answer is what came on stdout."""
    script = "import sys; data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data)"

    assert hear(script) == ("Grüße 🐊\n[photo, 2x1]", None)


def test_who_does_not_listen_may_answer() -> None:
    """A program may answer without reading a message that fills every pipe."""
    long = Message(
        1, ChatThread(7), 1, 7, True, MessageType.TEXT, "x" * 500_000, None, 0.0
    )

    assert hear("print('hi')", message=long) == ("hi\n", None)


def test_its_environment() -> None:
    """It is told which chat it is in, and is given nothing but what it was to have."""
    text, error = hear("import json, os; print(json.dumps(dict(os.environ)))")
    found = json.loads(text)
    found.pop("LC_CTYPE", None)

    assert error is None
    assert found == ENVIRONMENT | {"CROCBOT_CHAT": "-5:4", "CROCBOT_SENDER": "7"}


def test_a_failure() -> None:
    """An exit code is a failure; the end of stderr is for the operator's log."""
    text, error = hear(
        "import sys; print('half', flush=True); print('x' * 9999 + 'no such thing',"
        " file=sys.stderr); sys.exit(3)"
    )

    assert text == "half\n"
    assert error is not None
    assert error.fault is AgentErrorReason.FAILED
    assert str(error).startswith("the program ended with 3: ")
    assert str(error).endswith("no such thing")
    assert len(str(error)) < 600


@pytest.mark.parametrize("program", ["/nowhere/program", __file__])
def test_a_program_that_cannot_be_started(program: str) -> None:
    """What is not there, or is no program, cannot be reached."""
    agent = Command([program], ENVIRONMENT)
    hearing = AnswerReader(agent, Prompt(MESSAGE), PATIENT)

    async def run() -> None:
        async for _ in hearing.pieces():
            pass

    with pytest.raises(AgentError) as refused:
        asyncio.run(run())
    assert refused.value.fault is AgentErrorReason.UNREACHABLE
    with pytest.raises(AgentError):
        asyncio.run(agent.check())


def test_check() -> None:
    """A program that can be found is not started."""
    agent = Command([sys.executable, "-c", "raise SystemExit(1)"], ENVIRONMENT)

    assert asyncio.run(agent.check()) == f"{sys.executable} can be started"


FAMILY = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path({file!r}).write_text(f"{{os.getpid()}} {{child.pid}}")
print("started", flush=True)
{then}
"""


def is_running(pid: int) -> bool:
    """Whether a process still does something: a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def all_end(pids: list[int]) -> bool:
    """Wait until none of them runs."""

    async def wait() -> None:
        async with asyncio.timeout(30):
            while any(is_running(pid) for pid in pids):
                await asyncio.sleep(0.02)

    asyncio.run(wait())
    return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
@pytest.mark.parametrize(
    ("then", "limits", "fault"),
    [
        ("time.sleep(600)", Limits(30, 2.0), AgentErrorReason.TIMEOUT),
        ("pass", PATIENT, None),
        ("sys.exit(1)", PATIENT, AgentErrorReason.FAILED),
        ("while True: print('.', flush=True)", Limits(30, 2.0), None),
    ],
)
def test_no_child_is_left(
    tmp_path: Path, then: str, limits: Limits, fault: AgentErrorReason | None
) -> None:
    """Whatever ends the program, its children end with it, and hold nothing up."""
    file = tmp_path / "pids"
    text, error = hear(FAMILY.format(file=str(file), then=then), limits)
    pids = [int(pid) for pid in file.read_text().split()]

    assert text.startswith("started\n")
    if "while" in then:
        assert error is not None
        assert error.fault in (AgentErrorReason.TIMEOUT, AgentErrorReason.TOO_LONG)
    else:
        assert (error and error.fault) == fault
    assert all_end(pids)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
def test_stopped(tmp_path: Path) -> None:
    """When somebody says /stop, the program and its children end at once."""
    file = tmp_path / "pids"
    script = FAMILY.format(file=str(file), then="time.sleep(600)")
    agent = Command([sys.executable, "-c", script], ENVIRONMENT)

    async def scene() -> None:
        hearing = AnswerReader(agent, Prompt(MESSAGE), PATIENT)
        begun = asyncio.Event()

        async def listen() -> None:
            async for _ in hearing.pieces():
                begun.set()

        listening = asyncio.create_task(listen())
        await begun.wait()
        listening.cancel()
        await asyncio.wait([listening])

    asyncio.run(asyncio.wait_for(scene(), 30))
    assert all_end([int(pid) for pid in file.read_text().split()])
