"""
A program that is started for every message: message on stdin, answer on stdout.

    CROCBOT_AGENT_COMMAND='python3 answer.py'
    CROCBOT_CHAT=7 CROCBOT_SENDER=7 python3 answer.py < message > answer

It gets no shell, no secrets and only a few variables of the environment.  It and its
children form a process group, which is killed when the program ends, at a timeout and
at /stop.  An exit code other than 0 is a failure; the end of its stderr is logged.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress

from crocbot.agents.answer import Answer
from crocbot.agents.responses import decoded
from crocbot.errors import AgentError
from crocbot.events import AgentErrorReason
from crocbot.model import Prompt

READ_BYTES = 4096
MAX_STDERR_BYTES = 500
STDERR = 2
STDERR_SECONDS = 0.3
REAP_SECONDS = 5.0


class CommandAgent:
    """Starts one program, with `environment` and two variables of its own."""

    name = "command"
    markdown = True
    # The program knows its chat by CROCBOT_CHAT and may keep a memory of its own.
    remembers = False

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        self._arguments = tuple(arguments)
        self._environment = dict(environment)

    async def answer(self, prompt: Prompt) -> Answer:
        """Run the program and yield its output as it is written."""
        transport, group = await self._start(prompt)
        process = Process(transport, group, asyncio.get_running_loop())
        writing = asyncio.create_task(_write(process.stdin, prompt.text.encode()))
        try:
            async for text in decoded(_chunks(process.stdout)):
                yield text
            await group.exited.wait()
            await _wait(group.stderr_closed, STDERR_SECONDS)
        finally:
            group.kill()
            writing.cancel()
            try:
                await _wait(group.exited, REAP_SECONDS)
            finally:
                # A process that left the group may still hold the pipes open.
                transport.close()
        code = transport.get_returncode()
        if code:
            stderr = group.stderr_end.decode("utf-8", "replace").strip()
            error = f"the program ended with {code}: {stderr}".rstrip(": ")
            raise AgentError(error, AgentErrorReason.FAILED)

    async def check(self) -> str:
        """Look up the program without starting it.  Raise AgentError."""
        program = self._arguments[0]
        path = shutil.which(program, path=self._environment.get("PATH"))
        if path is None:
            raise AgentError(
                f"{program} is not a program that can be started",
                AgentErrorReason.UNREACHABLE,
            )
        return f"{path} can be started"

    async def close(self) -> None:
        """Do nothing: every program ends with its answer."""

    async def _start(
        self, prompt: Prompt
    ) -> tuple[asyncio.SubprocessTransport, _ProcessGroup]:
        message = prompt.message
        environment = {
            **self._environment,
            "CROCBOT_CHAT": message.chat.key,
            "CROCBOT_SENDER": str(message.sender_id or ""),
        }
        loop = asyncio.get_running_loop()
        try:
            return await loop.subprocess_exec(
                lambda: _ProcessGroup(limit=2 * READ_BYTES, loop=loop),
                *self._arguments,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise AgentError(
                f"{self._arguments[0]} cannot be started: {error}",
                AgentErrorReason.UNREACHABLE,
            ) from error


class _ProcessGroup(SubprocessStreamProtocol):
    """
    A program and its children.

    asyncio's own `wait` returns only when the pipes are closed, and a child that
    outlives the program may hold them open.
    """

    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit, loop)
        self.exited = asyncio.Event()
        self.stderr_closed = asyncio.Event()
        self.stderr_end = b""
        self._group_id: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the group id: it is the id of the program, which leads a session."""
        super().connection_made(transport)
        if isinstance(transport, asyncio.SubprocessTransport):
            self._group_id = transport.get_pid()

    def process_exited(self) -> None:
        """Kill the children of a program that has ended."""
        super().process_exited()
        self.kill()
        self.exited.set()

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        """Keep the end of stderr; all of it is read, or its writer would block."""
        if fd == STDERR and isinstance(data, bytes):
            self.stderr_end = (self.stderr_end + data)[-MAX_STDERR_BYTES:]
        else:
            super().pipe_data_received(fd, data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Note the end of stderr."""
        super().pipe_connection_lost(fd, exc)
        if fd == STDERR:
            self.stderr_closed.set()

    def kill(self) -> None:
        """Kill the whole group; only once, because the id may be reused later."""
        group_id, self._group_id = self._group_id, None
        try:
            if group_id is not None:
                os.killpg(group_id, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            # No process of the group is left.
            pass


async def _write(stdin: asyncio.StreamWriter | None, data: bytes) -> None:
    """Write the message; a program may answer and close its stdin before reading it."""
    if stdin is None:
        return
    try:
        stdin.write(data)
        await stdin.drain()
        stdin.close()
        await stdin.wait_closed()
    except (BrokenPipeError, ConnectionResetError):
        pass


async def _chunks(stdout: asyncio.StreamReader | None) -> AsyncIterator[bytes]:
    while stdout is not None and (chunk := await stdout.read(READ_BYTES)):
        yield chunk


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
