"""Child processes: they end with the parent, and their own end is noticed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from crocbot.sandbox import children
from crocbot.sandbox.children import Child, ChildError

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
# Short sleeps: a handler in Python, like that of coverage, would wait for the end of a
# long one if the signal came just before it began.
SLEEP = """
import time
print("ready", flush=True)
while True:
    time.sleep(0.1)
"""


Run = Callable[[str], AbstractAsyncContextManager[Child]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a Python program as a child."""

    def start(program: str) -> AbstractAsyncContextManager[Child]:
        (tmp_path / "program.py").write_text(program)
        return children.start(
            name="child",
            arguments=["program"],
            settings={"PYTHONPATH": str(tmp_path)},
            home=tmp_path,
            environment=os.environ,
        )

    return start


async def printed(child: Child) -> None:
    """Wait until the child has printed something."""
    async with asyncio.timeout(30):
        while not child.tail():
            await asyncio.sleep(0.01)


async def test_a_child_ends_with_its_context(run: Run) -> None:
    """A running child is terminated when the context ends."""
    async with run(SLEEP) as child:
        await printed(child)

    assert child.process.returncode == -signal.SIGTERM


async def test_a_child_that_ignores_sigterm_is_killed(run: Run) -> None:
    """After the timeout it gets SIGKILL."""
    async with run(STUBBORN + SLEEP) as child:
        await printed(child)

        assert await child.stop(timeout=0.1) == -signal.SIGKILL


async def test_a_child_that_ends_is_an_error(run: Run) -> None:
    """Work ends with it; the error has name, exit code and the last lines."""
    program = "print('old ' * 9)\n" + "print('oops')\n" * 20 + "raise SystemExit(3)\n"
    async with run(program) as child:
        with pytest.raises(ChildError) as caught:
            await children.while_alive(asyncio.sleep(600), child)

    assert str(caught.value).splitlines() == [
        "the child ended with exit code 3",
        *["  child: oops"] * 20,
    ]


async def test_work_beside_a_running_child_has_its_result(run: Run) -> None:
    """Work that ends first returns its value, or raises its exception."""

    async def fail() -> None:
        raise KeyError("mine")

    async with run(SLEEP) as child:
        with pytest.raises(KeyError):
            await children.while_alive(fail(), child)
        assert await children.while_alive(asyncio.sleep(0, "done"), child) == "done"


def test_a_child_gets_no_setting_of_the_operator() -> None:
    """Settings of a gateway are removed, in any case; all else stays."""
    environment = {
        "PATH": "/bin",
        "CROCBOT_ACCESS": "pairing",
        "crocbot_agent": "http",
        "TELEGRAM_BOT_TOKEN": "1:a",
        "OPENAI_API_KEY": "b",
        "PYTHONPATH": "/mine",
    }
    kept = children.clean_environment(environment)
    root, mine = kept.pop("PYTHONPATH").split(os.pathsep)

    assert kept == {"PATH": "/bin"}
    assert mine == "/mine"
    assert (Path(root) / "crocbot" / "sandbox" / "children.py").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends orphans")
def test_an_orphan_ends(tmp_path: Path) -> None:
    """A child of a parent that was killed ends, too."""
    (tmp_path / "child.py").write_text(SLEEP)
    parent = f"""
import asyncio, os, pathlib
from crocbot.sandbox import children
async def main():
    home = pathlib.Path({str(tmp_path)!r})
    async with children.start(
        name="child", arguments=["child"], settings={{"PYTHONPATH": str(home)}},
        home=home, environment=os.environ,
    ) as child:
        while not child.tail():
            await asyncio.sleep(0.01)
        os.write(1, b"%d" % child.process.pid)
        os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", parent], capture_output=True, timeout=60, check=False
    )
    pid = int(done.stdout)

    assert done.returncode == -signal.SIGKILL
    assert gone(pid)


def gone(pid: int) -> bool:
    """Wait for the end of a process that is no child; return whether it came."""
    for _ in range(3000):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            # It has ended and was not reaped yet.
            return True
        subprocess.run(["sleep", "0.01"], check=False)
    return False
