"""
Child processes that never outlive this one.

    start(name="gateway", arguments=["crocbot", "gateway"], ...) --> Child --> stop()

A child has its own process group, so that Ctrl-C reaches only the parent, which ends
its children in order.  If the parent is killed, Linux ends the child.  Its output goes
to a file, whose last lines are shown if it ends unexpectedly.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from crocbot import linux
from crocbot.errors import CrocbotError

SETTING_PREFIXES = ("CROCBOT_", "TELEGRAM_", "OPENAI_")
# A gateway ends within its drain time and 2 s of its own; a busy machine needs more.
STOP_SECONDS = 30.0
MAX_TAIL_LINES = 20

Result = TypeVar("Result")


class ChildError(CrocbotError):
    """A child ended unexpectedly, or did not become ready."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running program; `output` is the file with its output."""

    name: str
    process: asyncio.subprocess.Process
    output: Path

    async def watch(self) -> None:
        """Wait until it ends by itself; then raise ChildError."""
        code = await self.process.wait()
        raise ChildError(f"the {self.name} ended with exit code {code}\n{self.tail()}")

    async def stop(self, timeout: float = STOP_SECONDS) -> int:
        """Terminate it, or kill it after the timeout; returns its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout):
                return await self.process.wait()
        except TimeoutError:
            self.process.kill()
            return await self.process.wait()
        except asyncio.CancelledError:
            self.process.kill()
            raise

    def tail(self) -> str:
        """Return the last lines of its output."""
        with self.output.open(encoding="utf-8", errors="replace") as lines:
            return "".join(
                f"  {self.name}: {line}" for line in deque(lines, MAX_TAIL_LINES)
            )


@asynccontextmanager
async def start(
    *,
    name: str,
    arguments: Sequence[str],
    home: Path,
    environment: Mapping[str, str],
    settings: Mapping[str, str] = MappingProxyType({}),
    settings_dir: Path | None = None,
) -> AsyncIterator[Child]:
    """
    Run `python -m` with arguments in a directory; it ends with this context.

    The child gets the environment without settings of a gateway, and `settings`.  With
    `settings_dir` it runs there and gets the settings of the environment, too.
    """
    inherited = clean_environment(environment)
    if settings_dir is not None:
        inherited = {**environment, "PYTHONPATH": inherited["PYTHONPATH"]}
    output = home / f"{name}.log"
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=asyncio.subprocess.STDOUT,
            cwd=settings_dir or home,
            env={**inherited, **settings},
            start_new_session=True,
            preexec_fn=linux.end_with_parent,
        )
    child = Child(name, process, output)
    try:
        yield child
    finally:
        await child.stop()


async def while_alive(work: Coroutine[Any, Any, Result], *children: Child) -> Result:
    """Return the result of the work; raises ChildError if a child ends meanwhile."""
    working = asyncio.create_task(work)
    watching = [asyncio.create_task(child.watch()) for child in children]
    try:
        await asyncio.wait([working, *watching], return_when=asyncio.FIRST_COMPLETED)
        for watch in watching:
            if watch.done():
                watch.result()
        return working.result()
    finally:
        for task in (working, *watching):
            task.cancel()
        await asyncio.gather(working, *watching, return_exceptions=True)


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the settings of a gateway."""
    kept = {
        name: value
        for name, value in environment.items()
        if not name.upper().startswith(SETTING_PREFIXES)
    }
    # A child runs in another directory and must find a checkout that is not installed.
    root = str(Path(__file__).parents[2])
    kept["PYTHONPATH"] = os.pathsep.join(
        filter(None, [root, environment.get("PYTHONPATH")])
    )
    return kept
