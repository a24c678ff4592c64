"""
A program, started for every message: the message on stdin, the answer on stdout.

    CROCBOT_AGENT_COMMAND='python3 answer.py'
    CROCBOT_CHAT=7 CROCBOT_SENDER=7 python3 answer.py < message > answer

It gets no shell, no secrets and little else of the environment.  What it started
itself is in its process group, and that is killed when the program ends, when it takes
too long, and when somebody says /stop.  An exit code other than 0 is a failure; the
end of what it wrote to stderr is for the operator's log.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import shutil
import signal
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections.abc import AsyncIterator, Mapping, Sequence

from crocbot.agents.agent import Answer
from crocbot.errors import AgentError
from crocbot.events import AgentErrorReason
from crocbot.model import Prompt

CHUNK = 4096
LONGEST_COMPLAINT = 500
GRACE_SECONDS = 0.3
REAP_SECONDS = 5.0


class Command:
    """Starts one program, with `environment` as it is."""

    name = "command"
    markdown = True
    # It knows which chat it is in, and may remember what it likes.
    remembers = False

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        self._arguments = tuple(arguments)
        self._environment = dict(environment)

    async def answer(self, prompt: Prompt) -> Answer:
        """Run the program, and pass on what it writes as it writes it."""
        transport, process, family = await self._start(prompt)
        complaint = bytearray()
        besides = [
            asyncio.create_task(_feed(process.stdin, prompt.text.encode())),
            asyncio.create_task(_tail(process.stderr, complaint)),
        ]
        try:
            async for piece in _texts(process.stdout):
                yield piece
            await family.exited.wait()
            await asyncio.wait(besides, timeout=GRACE_SECONDS)
        finally:
            family.kill()
            for task in besides:
                task.cancel()
            ended = asyncio.create_task(family.exited.wait())
            try:
                await asyncio.wait([ended, *besides], timeout=REAP_SECONDS)
            finally:
                ended.cancel()
                # Who left the family may still hold the other end of a pipe.
                transport.close()
        code = transport.get_returncode()
        if code:
            said = complaint.decode("utf-8", "replace").strip()
            words = f"the program ended with {code}: {said}".rstrip(": ")
            raise AgentError(words, AgentErrorReason.FAILED)

    async def check(self) -> str:
        """Look whether the program is there; it is not started."""
        program = self._arguments[0]
        path = shutil.which(program, path=self._environment.get("PATH"))
        if path is None:
            words = f"{program} is no program that can be started"
            raise AgentError(words, AgentErrorReason.UNREACHABLE)
        return f"{path} can be started"

    async def close(self) -> None:
        """Every program ends with its answer."""

    async def _start(
        self, prompt: Prompt
    ) -> tuple[asyncio.SubprocessTransport, Process, _Family]:
        message = prompt.message
        environment = {
            **self._environment,
            "CROCBOT_CHAT": message.chat.key,
            "CROCBOT_SENDER": str(message.sender_id or ""),
        }
        loop = asyncio.get_running_loop()
        try:
            transport, family = await loop.subprocess_exec(
                lambda: _Family(limit=2 * CHUNK, loop=loop),
                *self._arguments,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            words = f"{self._arguments[0]} cannot be started: {error}"
            raise AgentError(words, AgentErrorReason.UNREACHABLE) from error
        return transport, Process(transport, family, loop), family


class _Family(SubprocessStreamProtocol):
    """
    A program and all that it started.

    asyncio's own `wait` returns only when the pipes are closed, and who is left behind
    by the program may hold them open.
    """

    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit, loop)
        self.exited = asyncio.Event()
        self._pid: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The program runs."""
        super().connection_made(transport)
        if isinstance(transport, asyncio.SubprocessTransport):
            self._pid = transport.get_pid()

    def process_exited(self) -> None:
        """The program has ended, and so must its children."""
        super().process_exited()
        self.kill()
        self.exited.set()

    def kill(self) -> None:
        """End the whole group; once, since its number may be another's later."""
        pid, self._pid = self._pid, None
        try:
            if pid is not None:
                os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            # Nobody of the group is left.
            pass


async def _feed(stdin: asyncio.StreamWriter | None, words: bytes) -> None:
    """Write the message; a program may answer without having read it."""
    if stdin is None:
        return
    try:
        stdin.write(words)
        await stdin.drain()
        stdin.close()
        await stdin.wait_closed()
    except (BrokenPipeError, ConnectionResetError):
        pass


async def _texts(stdout: asyncio.StreamReader | None) -> AsyncIterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while stdout is not None and (chunk := await stdout.read(CHUNK)):
        yield decoder.decode(chunk)
    yield decoder.decode(b"", final=True)


async def _tail(stderr: asyncio.StreamReader | None, kept: bytearray) -> None:
    """Read everything, so that the program never waits; keep the end of it."""
    while stderr is not None and (chunk := await stderr.read(CHUNK)):
        kept += chunk
        del kept[:-LONGEST_COMPLAINT]
