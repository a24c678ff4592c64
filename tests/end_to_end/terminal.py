"""A command of the gateway in a real terminal, as an operator sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import pexpect

from crocbot.sandbox.children import clean_environment

TIMEOUT_SECONDS = 60.0


class TerminalProgram:
    """`python -m` in a terminal of 200 columns; the methods do not block the loop."""

    def __init__(
        self, *arguments: str, home: Path, settings: Mapping[str, str]
    ) -> None:
        environment = {"PYTHONUTF8": "1", "HOME": str(home), "TERM": "dumb"}
        self.child = pexpect.spawn(
            sys.executable,
            ["-m", *arguments],
            cwd=str(home),
            env={**clean_environment(os.environ), **environment, **settings},
            encoding="utf-8",
            timeout=TIMEOUT_SECONDS,
            dimensions=(50, 200),
        )
        self.seen = ""

    async def expect(self, text: str) -> str:
        """Wait for a text; return what was printed before it."""
        await asyncio.to_thread(self.child.expect_exact, text)
        printed = str(self.child.before)
        self.seen += printed + text
        return printed

    async def answer(self, question: str, line: str) -> None:
        """Wait for a question, and type a line."""
        await self.expect(question)
        # Only once the program waits: what is typed before may be shown, or lost.
        await self.expect(": ")
        self.child.sendline(line)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.child.sendintr()

    async def end(self) -> int:
        """Wait for the end; return the exit code."""
        await asyncio.to_thread(self.child.expect, pexpect.EOF)
        self.seen += str(self.child.before)
        await asyncio.to_thread(self.child.wait)
        status = self.child.exitstatus
        return -1 if status is None else status

    def close(self) -> None:
        """End the program if it runs."""
        if self.child.isalive():
            self.child.kill(signal.SIGKILL)
            # Not by close(), which waits for its end for a tenth of a second.
            self.child.wait()
        self.child.close()
