"""A program that answers: real processes, of which none is left."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import aclosing
from pathlib import Path

import pytest

from crocbot.agents import Timeouts
from crocbot.agents.command import CommandAgent
from crocbot.content import Attachment, File
from crocbot.errors import AgentError
from crocbot.model import ChatThread, Message, MessageType, Prompt
from crocbot.turn_folders import TurnFolders
from crocbot.turn_outcomes import AgentErrorReason
from tests.crocbot.fakes import Reading, a_message, read_answer

ENVIRONMENT = {"PATH": os.environ["PATH"]}
PATIENT = Timeouts(first_byte=30.0, total=30.0)
QUICK, SLOW = (Timeouts(first_byte=30.0, total=seconds) for seconds in (2.0, 30.0))
MESSAGE = a_message(
    "Grüße 🐊",
    chat=ChatThread(-5, 4),
    type=MessageType.MEDIA,
    attachments=(Attachment("photo", "photo, 2x1"),),
)


def python(script: str) -> CommandAgent:
    """Return an agent that runs a Python script."""
    return CommandAgent([sys.executable, "-c", script], ENVIRONMENT)


async def read(
    script: str, timeouts: Timeouts = PATIENT, message: Message = MESSAGE
) -> Reading:
    """Read the answer of a Python script."""
    async with asyncio.timeout(60):
        return await read_answer(python(script), Prompt(message), timeouts)


async def test_message_in_answer_out() -> None:
    """The message is on stdin, attachments in words; stdout is the answer."""
    reading = await read(
        "import sys; data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data)"
    )

    assert (reading.text, reading.error) == ("Grüße 🐊\n[photo, 2x1]", None)


async def test_a_program_that_does_not_read() -> None:
    """A program may answer without reading a message that fills every pipe."""
    reading = await read("print('hi')", message=a_message("x" * 500_000))

    assert (reading.text, reading.error) == ("hi\n", None)


async def test_environment() -> None:
    """The program gets the ids of chat and sender, and only the given environment."""
    reading = await read("import json, os; print(json.dumps(dict(os.environ)))")
    environment = json.loads(reading.text)
    environment.pop("LC_CTYPE", None)

    assert environment == ENVIRONMENT | {"CROCBOT_CHAT": "-5:4", "CROCBOT_SENDER": "7"}


LISTING = """
import os, pathlib, sys
for path in map(pathlib.Path, os.environ["CROCBOT_FILES"].splitlines()):
    print(path.name, path.read_text(), oct(path.stat().st_mode)[-3:])
sys.stdout.write(sys.stdin.read())
"""


async def test_files(tmp_path: Path) -> None:
    """The files of a message are in a private folder, with names of their own."""
    agent = CommandAgent(
        [sys.executable, "-c", LISTING], ENVIRONMENT, TurnFolders(tmp_path)
    )
    files = (
        File(type="document", mime_type="text/csv", content=b"1,2", name="../é.csv"),
        File(type="voice", mime_type="audio/ogg", content=b"Ogg"),
    )
    async with asyncio.timeout(60):
        reading = await read_answer(agent, Prompt(a_message("hi"), files=files))

    lines = reading.text.splitlines()
    assert lines[:3] == ["1-e.csv 1,2 600", "2-file.ogg Ogg 600", "hi"]
    assert [line.startswith(f"[file {tmp_path}/turns/") for line in lines[3:]] == [
        *(True, True)
    ]
    assert list((tmp_path / "turns").iterdir()) == []


@pytest.mark.parametrize("folders", [None, "full"])
async def test_files_without_a_folder(tmp_path: Path, folders: str | None) -> None:
    """A program is not asked about files that it cannot get."""
    (tmp_path / "turns").write_text("no folder")
    agent = CommandAgent(
        *([sys.executable, "-c", LISTING], ENVIRONMENT),
        TurnFolders(tmp_path) if folders else None,
    )
    files = (File(type="voice", mime_type="audio/ogg", content=b"Ogg"),)
    reading = await read_answer(agent, Prompt(a_message("hi"), files=files))

    assert (reading.text, reading.reason) == ("", AgentErrorReason.FAILED)


async def test_a_failure() -> None:
    """An exit code other than 0 is a failure; the end of stderr is in the error."""
    reading = await read(
        "import sys; print('half', flush=True); print('x' * 9999 + 'no such thing',"
        " file=sys.stderr); sys.exit(3)"
    )
    error = str(reading.error)

    assert (reading.text, reading.reason) == ("half\n", AgentErrorReason.FAILED)
    assert error.startswith("the program ended with 3: ")
    assert error.endswith("no such thing")
    assert len(error) < 600


@pytest.mark.parametrize("program", ["/nowhere/program", __file__])
async def test_a_program_that_cannot_be_started(program: str) -> None:
    """A missing or not executable file is the operator's fault, for `check` too."""
    agent = CommandAgent([program], ENVIRONMENT)

    assert (await read_answer(agent)).reason is AgentErrorReason.OPERATOR
    with pytest.raises(AgentError, match="not a program"):
        await agent.check()


async def test_check_of_a_script(tmp_path: Path) -> None:
    """A script whose interpreter does not exist cannot be started."""
    script = tmp_path / "agent"
    script.write_text("#! /nowhere/python3 -u\n")
    script.chmod(0o700)

    with pytest.raises(AgentError, match="its first line names '/nowhere/python3'"):
        await CommandAgent([str(script)], ENVIRONMENT).check()
    script.write_text("#!/bin/sh\n")
    assert await CommandAgent([str(script)], ENVIRONMENT).check() == (
        f"{script} can be started"
    )


async def test_check() -> None:
    """`check` looks the program up and does not start it."""
    assert await python("raise SystemExit(1)").check() == (
        f"{sys.executable} can be started"
    )


WITH_CHILD = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path({file!r}).write_text(f"{{os.getpid()}} {{child.pid}}")
print("started", flush=True)
{then}
"""
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="there is no /proc"
)


def is_running(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def pids_in(file: Path) -> list[int]:
    """Return the process ids that the script wrote."""
    return [int(pid) for pid in file.read_text().split()]


async def all_end(pids: list[int]) -> bool:
    """Wait until none of these processes runs."""
    async with asyncio.timeout(30):
        while any(is_running(pid) for pid in pids):
            await asyncio.sleep(0.02)
    return len(pids) == 2


@needs_proc
@pytest.mark.parametrize(
    ("then", "timeouts", "reasons"),
    [
        (
            "time.sleep(600)",
            QUICK,
            {AgentErrorReason.TIMEOUT},
        ),
        ("pass", PATIENT, {None}),
        ("sys.exit(1)", PATIENT, {AgentErrorReason.FAILED}),
        (
            "while True: print('.', flush=True)",
            QUICK,
            {AgentErrorReason.TIMEOUT, AgentErrorReason.TOO_LONG},
        ),
    ],
)
async def test_no_child_is_left(
    tmp_path: Path, then: str, timeouts: Timeouts, reasons: set[AgentErrorReason | None]
) -> None:
    """However the program ends, its children end with it, and delay nothing."""
    file = tmp_path / "pids"
    reading = await read(WITH_CHILD.format(file=str(file), then=then), timeouts)
    if not reading.text and timeouts is QUICK:
        # Too short for the start of two programs on a machine that is busy.
        reading = await read(WITH_CHILD.format(file=str(file), then=then), SLOW)

    assert reading.text.startswith("started\n")
    assert reading.reason in reasons
    assert await all_end(pids_in(file))


@needs_proc
async def test_stopped(tmp_path: Path) -> None:
    """When the answer is cancelled, the program and its children end at once."""
    file = tmp_path / "pids"
    agent = python(WITH_CHILD.format(file=str(file), then="time.sleep(600)"))
    async with asyncio.timeout(30), aclosing(agent.answer(Prompt(MESSAGE))) as answer:
        assert await anext(answer) == "started\n"

    assert await all_end(pids_in(file))
