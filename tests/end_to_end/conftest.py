"""
Real processes, real sockets, real HTTP: what the end-to-end tests share.

    async with world() as w:             a sandbox and free ports, nothing runs yet
        await w.start_bridge()           python -m statsd_bridge
        await w.start_gateway()          python -m crocbot gateway
        await w.eventually(...)          wait for a condition; tests never just sleep

Whatever a test starts is gone when it ends.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest

from crocbot.sandbox import Server, children, metrics_page, users
from crocbot.sandbox.children import Child
from crocbot.sandbox.users import PEOPLE, Users
from tests.ports import HOST, free_port

PATIENCE = 90.0


class World:
    """A sandbox, and the programs that a test starts."""

    def __init__(self, home: Path, server: Server, stack: AsyncExitStack) -> None:
        self.home = home
        self.server = server
        self.statsd_port = free_port()
        self.web_port = free_port()
        self.health_port = free_port()
        self.url = f"http://{HOST}:{self.web_port}/metrics"
        self.health_url = f"http://{HOST}:{self.health_port}"
        self.database = home / "state" / "crocbot.sqlite3"
        self.users = Users(PEOPLE, server)
        self._stack = stack
        self._started = 0

    async def start_bridge(self) -> Child:
        """Start the bridge, always on the same ports; returns when it has a page."""
        bridge = await self._start(
            "bridge",
            [
                "statsd_bridge",
                f"--statsd.mapping-config={files('crocbot') / 'mapping.yml'}",
                f"--statsd.listen-udp={HOST}:{self.statsd_port}",
                "--statsd.listen-tcp=",
                f"--web.listen-address={HOST}:{self.web_port}",
            ],
            {},
        )
        await children.while_alive(self.eventually(self.has_page), bridge)
        return bridge

    async def start_gateway(self, **settings: str) -> Child:
        """Start the gateway, everybody let in; returns when it polls."""
        before = self.server.calls["getupdates"]
        gateway = await self._start(
            "gateway", ["crocbot", "gateway"], {**self.settings(), **settings}
        )
        await children.while_alive(
            self.eventually(lambda: self.server.calls["getupdates"] > before), gateway
        )
        return gateway

    async def start(self, arguments: list[str], settings: Mapping[str, str]) -> Child:
        """Start any program of ours, as `python -m` with these arguments."""
        return await self._start(arguments[0], arguments, settings)

    def settings(self) -> dict[str, str]:
        """The environment of a gateway that works."""
        return {
            "TELEGRAM_BOT_TOKEN": self.server.token,
            "CROCBOT_TELEGRAM_API_URL": self.server.url,
            "CROCBOT_ACCESS": "open",
            "CROCBOT_STATSD_PORT": str(self.statsd_port),
            "CROCBOT_HEALTH_ADDRESS": f"{HOST}:{self.health_port}",
            "CROCBOT_STATE_DIR": str(self.home / "state"),
        }

    async def talk(self, stop: asyncio.Event) -> None:
        """Let people talk until asked to stop and answered."""
        await self.users.converse(stop, random.Random(1))

    async def exchange(self, words: str) -> None:
        """Let one person say something; returns when it was answered."""
        talker = self.users.members[0]
        talker.send(users.text(words))
        assert await talker.wait_answered(PATIENCE), self.users.mistakes

    async def text(self) -> str:
        """The page of the bridge."""
        async with aiohttp.ClientSession() as session, session.get(self.url) as answer:
            assert answer.status == 200
            return await answer.text()

    async def has_page(self) -> bool:
        """Whether the bridge has a page."""
        try:
            return bool(await self.text())
        except aiohttp.ClientError:
            return False

    async def values(self, name: str) -> dict[str, float]:
        """The values of one metric by its labels' values."""
        return metrics_page.by_label(metrics_page.read(await self.text()), name)

    async def eventually(self, condition: Callable[[], Any]) -> Any:
        """Wait until a condition, which may be a coroutine, gives something true."""
        async with asyncio.timeout(PATIENCE):
            while True:
                result = condition()
                if isinstance(result, Awaitable):
                    result = await result
                if result:
                    return result
                await asyncio.sleep(0.05)

    async def _start(
        self, name: str, arguments: list[str], settings: Mapping[str, str]
    ) -> Child:
        self._started += 1
        home = self.home / f"{self._started}-{name}"
        home.mkdir()
        return await self._stack.enter_async_context(
            children.start(
                name=name,
                arguments=arguments,
                settings=settings,
                home=home,
                environment=os.environ,
            )
        )


@asynccontextmanager
async def _world(home: Path) -> AsyncIterator[World]:
    async with Server() as server, AsyncExitStack() as stack:
        yield World(home, server, stack)


@pytest.fixture(scope="session")
def make_world() -> Callable[[Path], AbstractAsyncContextManager[World]]:
    """Make a world in a directory; use it with `async with`."""
    return _world


@pytest.fixture
def world(tmp_path: Path) -> Callable[[], AbstractAsyncContextManager[World]]:
    """Make a world of this test's own; use it with `async with`."""
    return lambda: _world(tmp_path)


class Program:
    """One of our programs, run by the test from outside."""

    def __init__(
        self, arguments: list[str], home: Path, settings: Mapping[str, str]
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=home,
            env={
                **children.clean_environment(os.environ),
                "PYTHONUTF8": "1",
                "HOME": str(home),
                **settings,
            },
            text=True,
            start_new_session=True,
        )

    def read_until(self, words: str) -> None:
        """Read what it says until it says this."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if words in line:
                return
        pytest.fail(f"{words!r} never came; {self.end()}")

    def end(self) -> tuple[int, str, str]:
        """Wait for its end; returns exit code, the rest of the output, and errors."""
        output, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, output, errors


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start a program: `run("crocbot", "check", CROCBOT_ACCESS="open")`."""
    programs: list[Program] = []

    def start(*arguments: str, **settings: str) -> Program:
        programs.append(Program(list(arguments), tmp_path, settings))
        return programs[-1]

    yield start
    for program in programs:
        # First in peace, since only then it ends its own children.
        program.process.terminate()
        try:
            program.process.communicate(timeout=30)
        except (subprocess.TimeoutExpired, ValueError):
            program.process.kill()
            program.process.wait()
        for pipe in (program.process.stdout, program.process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def descendants() -> Callable[[int], dict[int, str]]:
    """The children of a process: their ids and command lines."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("there is no /proc here")
    return _children


def _children(parent: int) -> dict[int, str]:
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # pid (name) state parent ...; a name may have blanks and brackets.
            _, ppid = stat.read_text().rpartition(")")[2].split()[:2]
            words = stat.with_name("cmdline").read_text().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(ppid) == parent:
            found[int(stat.parent.name)] = " ".join(words).strip()
    return found


@pytest.fixture
def gone() -> Callable[[int], bool]:
    """Wait for the end of a process that is no child of ours."""

    def wait(pid: int) -> bool:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if not Path(f"/proc/{pid}").exists():
                return True
            time.sleep(0.05)
        return False

    return wait


class Bridge:
    """A statsd-bridge of a test's own, on ports that the kernel chose."""

    def __init__(self, home: Path, flags: Sequence[str], most_files: int = 0) -> None:
        self.home = home
        self._log = home / "log"
        command = [
            *(sys.executable, "-m", "statsd_bridge"),
            "--statsd.listen-udp=127.0.0.1:0",
            "--statsd.listen-tcp=",
            "--web.listen-address=127.0.0.1:0",
            *flags,
        ]
        if most_files:
            command = ["sh", "-c", f'ulimit -n {most_files}; exec "$@"', "-", *command]
        # To a file: a pipe that nobody reads fills up.
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stderr=log, cwd=home
            )

    def log(self) -> str:
        """All that it has logged."""
        return self._log.read_text()

    def wait(self) -> Self:
        """Wait until its doors are open."""
        deadline = time.monotonic() + PATIENCE
        while "event=ready" not in self.log():
            ended = self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                pytest.fail(f"the bridge does not start: {self.log()}")
            time.sleep(0.02)
        return self

    def port(self, door: str) -> int:
        """The port of a door."""
        found = re.search(rf"event=ready .*\b{door}=\S+:(\d+)", self.log())
        assert found is not None, self.log()
        return int(found[1])

    @property
    def udp(self) -> int:
        """The port of its UDP door."""
        return self.port("udp")

    @property
    def tcp(self) -> int:
        """The port of its TCP door."""
        return self.port("tcp")

    @property
    def http(self) -> int:
        """The port of its HTTP door."""
        return self.port("http")

    def send(self, *datagrams: bytes) -> None:
        """Send over UDP."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for each in datagrams:
                sender.sendto(each, ("127.0.0.1", self.udp))

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        """Ask over HTTP; gives status and body."""
        url = f"http://127.0.0.1:{self.http}{path}"
        request = urllib.request.Request(url, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def get(self, path: str, **headers: str) -> str:
        """Ask over HTTP for what must be there."""
        status, body = self.ask(path, **headers)
        assert status == 200
        return body

    def until(self, words: str) -> str:
        """Scrape until a line is there; gives the page."""
        deadline = time.monotonic() + PATIENCE
        while words not in (page := self.get("/metrics")):
            if time.monotonic() > deadline:
                pytest.fail(f"{words!r} never came up in:\n{page}\n{self.log()}")
            time.sleep(0.02)
        return page

    def stop(self, how: int = signal.SIGTERM) -> int:
        """End it; gives the exit code."""
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Bridge]]:
    """Start bridges and wait for none of them: `launch("--flag=x", ...)`."""
    launched: list[Bridge] = []

    def launching(*flags: str, **more: Any) -> Bridge:
        home = tmp_path_factory.mktemp("bridge")
        launched.append(Bridge(home, flags, **more))
        return launched[-1]

    yield launching
    for each in launched:
        if each.process.poll() is None:
            each.stop(signal.SIGKILL)


@pytest.fixture
def start(launch: Callable[..., Bridge]) -> Callable[..., Bridge]:
    """Start a bridge; returns when its doors are open."""
    return lambda *flags, **more: launch(*flags, **more).wait()
