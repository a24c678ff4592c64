"""
Programs of ours as child processes that never outlive us.

    start("gateway", ["crocbot", "gateway"], ...) --> Child --> stop(): exit code

A child has its own process group, so that Ctrl-C reaches only us and we choose the
order in which things end.  Should we be killed, Linux ends it.  What it writes goes to
a file, whose end is shown if it dies unexpectedly.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from crocbot.errors import CrocbotError

OURS = ("CROCBOT_", "TELEGRAM_", "OPENAI_")
STOP_SECONDS = 15.0
TAIL = 20
PR_SET_PDEATHSIG = 1

Result = TypeVar("Result")


class ChildError(CrocbotError):
    """A child ended that should not have, or did not get ready."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running program; `output` is the file with all that it wrote."""

    name: str
    process: asyncio.subprocess.Process
    output: Path

    async def watch(self) -> None:
        """Wait until it ends; then raise ChildError, since nobody asked it to."""
        code = await self.process.wait()
        raise ChildError(f"the {self.name} ended with exit code {code}\n{self.tail()}")

    async def stop(self, patience: float = STOP_SECONDS) -> int:
        """Ask it to end, and insist after a while; returns its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.process.wait(), patience)
        except TimeoutError:
            self.process.kill()
            return await self.process.wait()
        except asyncio.CancelledError:
            self.process.kill()
            raise

    def tail(self) -> str:
        """The last lines that it wrote."""
        with self.output.open(encoding="utf-8", errors="replace") as lines:
            return "".join(f"  {self.name}: {line}" for line in deque(lines, TAIL))


@asynccontextmanager
async def start(
    name: str,
    arguments: Sequence[str],
    settings: Mapping[str, str],
    home: Path,
    environment: Mapping[str, str],
) -> AsyncIterator[Child]:
    """Run `python -m` with arguments in a directory; it ends with this context."""
    output = home / f"{name}.log"
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=asyncio.subprocess.STDOUT,
            cwd=home,
            env={**clean_environment(environment), **settings},
            start_new_session=True,
            preexec_fn=_die_with_parent(),
        )
    child = Child(name, process, output)
    try:
        yield child
    finally:
        await child.stop()


async def while_alive(work: Coroutine[Any, Any, Result], *children: Child) -> Result:
    """Do the work, unless a child ends meanwhile: then raise ChildError."""
    doing = asyncio.create_task(work)
    watching = [asyncio.create_task(child.watch()) for child in children]
    try:
        await asyncio.wait([doing, *watching], return_when=asyncio.FIRST_COMPLETED)
        for watch in watching:
            if watch.done():
                watch.result()
        return doing.result()
    finally:
        for task in (doing, *watching):
            task.cancel()
        await asyncio.gather(doing, *watching, return_exceptions=True)


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without what an operator set for a gateway of his own."""
    kept = {
        name: value
        for name, value in environment.items()
        if not name.upper().startswith(OURS)
    }
    # A child starts elsewhere and must still find a checkout that is not installed.
    root = str(Path(__file__).parents[2])
    kept["PYTHONPATH"] = os.pathsep.join(
        filter(None, [root, environment.get("PYTHONPATH")])
    )
    return kept


def _die_with_parent() -> Callable[[], object] | None:
    """What the child does first; nothing where the system has no such thing."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
