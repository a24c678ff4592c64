"""
A program that is started for every message: message on stdin, answer on stdout.

    CROCBOT_AGENT_COMMAND='python3 answer.py'
    CROCBOT_CHAT=7 CROCBOT_SENDER=7 python3 answer.py < message > answer

It gets no shell, no secrets and only a few variables of the environment.  What it has
started is killed when it ends, at a timeout, at /stop and when the gateway ends: on
Linux all of it, by the supervisor in `linux.py`, elsewhere its process group.  An exit
code other than 0 is a failure; the end of its stderr is logged.  `outbox.py` reads the
files that it leaves.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Mapping,
    MutableSet,
    Sequence,
    Set,
)
from contextlib import aclosing, nullcontext, suppress
from pathlib import Path

from crocbot import linux
from crocbot.agents.answer import Accepts, Answer
from crocbot.agents.outbox import Outbox
from crocbot.agents.responses import decoded
from crocbot.agents.rules import bounded
from crocbot.content import File
from crocbot.errors import AgentError
from crocbot.file_names import safe_name, suffix
from crocbot.model import Prompt
from crocbot.turn_folders import TurnFolder, TurnFolders
from crocbot.turn_outcomes import AgentErrorReason

# Linux reads no more of the line that names the interpreter.
MAX_FIRST_LINE_BYTES = 256
READ_BYTES = 4096
MAX_STDERR_BYTES = 500
STDERR = 2
STDERR_SECONDS = 0.3
REAP_SECONDS = 5.0
MAX_ORPHAN_CHECKS = 20
ORPHAN_CHECK_SECONDS = 0.01


class CommandAgent:
    """
    Starts one program, with `environment` and the variables of its turn.

    Without `folders` it gets and leaves no files.
    """

    name = "command"
    markdown = True
    # The program knows its chat by CROCBOT_CHAT and may keep a memory of its own.
    remembers = False
    accepts = Accepts.FILES

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folders: TurnFolders | None = None,
        *,
        max_file_bytes: int = 0,
    ) -> None:
        self._arguments = tuple(arguments)
        self._environment = dict(environment)
        self._folders = folders
        self._max_file_bytes = max_file_bytes
        # One answer at a time has its files in memory.
        self._reading = asyncio.Lock()
        self._supervisors: set[int] = set()
        self._ending: set[asyncio.Task[None]] = set()

    async def answer(self, prompt: Prompt) -> Answer:
        """Run the program and yield its output as it is written."""
        folders = nullcontext(None) if self._folders is None else self._folders.folder()
        async with folders as folder:
            paths = await _write_files(prompt.files, folder)
            variables = _variables(prompt, folder, paths)
            named = [f"[file {path}]" for path in paths]
            message = "\n".join([prompt.with_context, *named])
            async with aclosing(self._run(message, variables)) as texts:
                async for text in texts:
                    yield text
            if folder is not None:
                outbox = Outbox(folder.outgoing, self._max_file_bytes)
                async with self._reading, aclosing(outbox.enclosures()) as found:
                    async for enclosure in found:
                        yield enclosure

    async def _run(
        self, message: str, variables: Mapping[str, str]
    ) -> AsyncGenerator[str, None]:
        """Run the program with these variables; raise AgentError if it fails."""
        transport, group = await self._start(variables)
        process = Process(transport, group, asyncio.get_running_loop())
        writing = asyncio.create_task(_write(process.stdin, message.encode()))
        try:
            async with aclosing(bounded(_chunks(process.stdout))) as chunks:
                async for text in decoded(chunks):
                    yield text
            await group.exited.wait()
            await _wait(group.stderr_closed, STDERR_SECONDS)
        finally:
            writing.cancel()
            ending = asyncio.create_task(_end(transport, group))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            # A second cancellation must not keep the processes from being ended.
            await asyncio.shield(ending)
        if code := transport.get_returncode():
            raise self._failure(code, group.stderr_end.decode("utf-8", "replace"))

    async def check(self) -> str:
        """Look up the program without starting it.  Raise AgentError."""
        program = self._arguments[0]
        path = shutil.which(program, path=self._environment.get("PATH"))
        if path is None:
            raise AgentError(
                f"{program} is not a program that can be started",
                AgentErrorReason.UNREACHABLE,
            )
        if (interpreter := _missing_interpreter(path)) is not None:
            raise AgentError(
                f"{path} cannot be started: its first line names {interpreter},"
                " which does not exist",
                AgentErrorReason.UNREACHABLE,
            )
        return f"{path} can be started"

    async def close(self) -> None:
        """Wait for the end of programs that were given up."""
        await asyncio.gather(*self._ending)

    def _failure(self, code: int, stderr: str) -> AgentError:
        if code == linux.NOT_STARTED_CODE and stderr.startswith(linux.NOT_STARTED):
            return self._not_started(stderr.removeprefix(linux.NOT_STARTED))
        error = f"the program ended with {code}: {stderr.strip()}".rstrip(": ")
        return AgentError(error, AgentErrorReason.FAILED)

    def _not_started(self, reason: str) -> AgentError:
        return AgentError(
            f"{self._arguments[0]} cannot be started: {reason}",
            AgentErrorReason.OPERATOR,
        )

    async def _start(
        self, variables: Mapping[str, str]
    ) -> tuple[asyncio.SubprocessTransport, _ProcessGroup]:
        loop = asyncio.get_running_loop()
        try:
            return await loop.subprocess_exec(
                lambda: _ProcessGroup(loop, self._supervisors),
                *linux.supervised(self._arguments),
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env={**self._environment, **variables},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise self._not_started(str(error)) from error


async def _write_files(files: Sequence[File], folder: TurnFolder | None) -> list[Path]:
    """Write the files of a message; return their paths.  Raise AgentError."""
    named = [
        (safe_name(number, file.name, suffix(file.mime_type)), file.content)
        for number, file in enumerate(files, 1)
    ]
    if not named:
        return []
    if folder is None:
        error = "there is no folder for the files of the message"
        raise AgentError(error, AgentErrorReason.FAILED)
    try:
        return await folder.write(named)
    except OSError as error:
        text = f"the files of the message cannot be written: {error.strerror}"
        raise AgentError(text, AgentErrorReason.FAILED) from error


def _variables(
    prompt: Prompt, folder: TurnFolder | None, paths: Sequence[Path]
) -> Mapping[str, str]:
    """Return the variables of a turn, besides those of the environment."""
    message = prompt.message
    variables = {
        "CROCBOT_CHAT": message.chat.key,
        "CROCBOT_SENDER": str(message.sender_id or ""),
    }
    if paths:
        variables["CROCBOT_FILES"] = "\n".join(map(str, paths))
    if folder is not None:
        variables["CROCBOT_OUT"] = str(folder.outgoing)
    return variables


class _ProcessGroup(SubprocessStreamProtocol):
    """
    A program and its children; on Linux its supervisor ends them.

    asyncio's own `wait` returns only when the pipes are closed, and a child that
    outlives the program may hold them open.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, supervisors: MutableSet[int]
    ) -> None:
        super().__init__(2 * READ_BYTES, loop)
        self.exited = asyncio.Event()
        self.stderr_closed = asyncio.Event()
        self.stderr_end = b""
        self.orphans_ended: asyncio.Task[None] | None = None
        self._supervisors = supervisors
        self._process: asyncio.SubprocessTransport | None = None
        self._group_id: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the group id: it is the id of the process, which leads a session."""
        super().connection_made(transport)
        if isinstance(transport, asyncio.SubprocessTransport):
            self._process = transport
            self._group_id = transport.get_pid()
            self._supervisors.add(self._group_id)

    def process_exited(self) -> None:
        """Kill the children of a program that has ended."""
        super().process_exited()
        self.end()
        if self._process is not None:
            self._supervisors.discard(self._process.get_pid())
        if self._process and self._process.get_returncode() == -signal.SIGKILL:
            ending = _end_orphans(self._supervisors)
            self.orphans_ended = asyncio.create_task(ending)
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

    def end(self) -> None:
        """End the whole group; only once, because the id may be reused later."""
        group_id, self._group_id = self._group_id, None
        # On Linux the supervisor is the group, and kills the rest when it is asked to.
        number = signal.SIGTERM if linux.IS_LINUX else signal.SIGKILL
        try:
            if group_id is not None:
                os.killpg(group_id, number)
        except (ProcessLookupError, PermissionError):
            # No process of the group is left.
            pass


async def _end(transport: asyncio.SubprocessTransport, group: _ProcessGroup) -> None:
    """End a program and its children, and release its pipes."""
    group.end()
    await _wait(group.exited, REAP_SECONDS)
    # Kills what has not ended.  Another process may still hold the pipes open.
    transport.close()
    await _wait(group.exited, REAP_SECONDS)
    if group.orphans_ended is not None:
        await group.orphans_ended


async def _end_orphans(supervisors: Set[int]) -> None:
    """End the processes whose supervisor was killed."""
    for _ in range(MAX_ORPHAN_CHECKS):
        linux.kill_orphans(supervisors)
        # The children of an orphan that was killed are orphans in the next round.
        await asyncio.sleep(ORPHAN_CHECK_SECONDS)


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
        async with asyncio.timeout(seconds):
            await event.wait()


def _missing_interpreter(path: str) -> str | None:
    """Return the interpreter in the first line of a script if it does not exist."""
    try:
        with Path(path).open("rb") as file:
            line = file.readline(MAX_FIRST_LINE_BYTES)
    except OSError:
        return None
    words = line[2:].split() if line.startswith(b"#!") else []
    interpreter = os.fsdecode(words[0]) if words else ""
    return None if not words or Path(interpreter).exists() else repr(interpreter)
