"""Child processes: they end with us, and we notice when they end without us."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from crocbot.sandbox import children
from crocbot.sandbox.children import Child, ChildError

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
SLEEP = "print('ready', flush=True)\nimport time\ntime.sleep(600)\n"


def play(
    tmp_path: Path, program: str, scene: Callable[[Child], Awaitable[Any]]
) -> tuple[Any, Child]:
    """Run a scene with a child that runs a program; it must be gone afterwards."""
    (tmp_path / "program.py").write_text(program)

    async def run() -> tuple[Any, Child]:
        async with children.start(
            "child", ["program"], {"PYTHONPATH": str(tmp_path)}, tmp_path, os.environ
        ) as child:
            result = await scene(child)
        assert child.process.returncode is not None
        return result, child

    return asyncio.run(run())


async def ready(child: Child) -> None:
    """Wait until the child said something."""
    async with asyncio.timeout(30):
        while not child.tail():  # noqa: ASYNC110 (another process makes it true)
            await asyncio.sleep(0.01)


def test_a_child_ends_with_its_context(tmp_path: Path) -> None:
    """A running child is asked to end when the context ends."""
    _, child = play(tmp_path, SLEEP, ready)

    assert child.process.returncode == -signal.SIGTERM


def test_a_stubborn_child_is_killed(tmp_path: Path) -> None:
    """A child that ignores SIGTERM does not stay."""

    async def scene(child: Child) -> int:
        await ready(child)
        return await child.stop(patience=0.1)

    code, _ = play(tmp_path, STUBBORN + SLEEP, scene)

    assert code == -signal.SIGKILL


def test_a_dead_child_is_told_with_its_last_words(tmp_path: Path) -> None:
    """Work ends when a child dies; the error has name, exit code and its last lines."""
    program = "print('old ' * 9)\n" + "print('oops')\n" * 20 + "raise SystemExit(3)\n"

    async def scene(child: Child) -> str:
        with pytest.raises(ChildError) as caught:
            await children.while_alive(asyncio.sleep(600), child)
        return str(caught.value)

    told, _ = play(tmp_path, program, scene)

    assert told.splitlines() == [
        "the child ended with exit code 3",
        *["  child: oops"] * 20,
    ]


def test_work_beside_a_living_child_has_its_result(tmp_path: Path) -> None:
    """Work that ends first gives what it gives, an exception too."""

    async def fail() -> None:
        raise KeyError("mine")

    async def scene(child: Child) -> str:
        with pytest.raises(KeyError):
            await children.while_alive(fail(), child)
        return await children.while_alive(asyncio.sleep(0, "done"), child)

    assert play(tmp_path, SLEEP, scene)[0] == "done"


def test_nothing_of_the_operators_leaks_in() -> None:
    """A child sees no setting of a gateway, whatever its case; the rest stays."""
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
    """A child of a parent that was killed does not stay."""
    (tmp_path / "child.py").write_text(SLEEP)
    parent = f"""
import asyncio, os, pathlib
from crocbot.sandbox import children
async def main():
    home = pathlib.Path({str(tmp_path)!r})
    async with children.start(
        "child", ["child"], {{"PYTHONPATH": str(home)}}, home, os.environ
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
    """Wait a while for a process that is no child of ours to end."""
    for _ in range(3000):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            # Ended; whoever inherited it has not looked yet.
            return True
        subprocess.run(["sleep", "0.01"], check=False)
    return False
