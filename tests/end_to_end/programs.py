"""The programs of the project as processes of a test, without a sandbox."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol, Self

import psutil
import pytest

from crocbot.sandbox.children import clean_environment
from tests.ports import HOST

TIMEOUT_SECONDS = 90.0


class Program:
    """A program with its output on pipes."""

    def __init__(
        self, arguments: Sequence[str], home: Path, settings: Mapping[str, str]
    ) -> None:
        environment = {"PYTHONUTF8": "1", "HOME": str(home), **settings}
        self.process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=home,
            env={**clean_environment(os.environ), **environment},
            text=True,
            start_new_session=True,
        )

    def read_until(self, text: str) -> None:
        """Read its output up to a line that contains a text."""
        self._read_until(text, self.process.stdout)

    def read_errors_until(self, text: str) -> None:
        """Read its stderr up to a line that contains a text."""
        self._read_until(text, self.process.stderr)

    def _read_until(self, text: str, pipe: IO[str] | None) -> None:
        for line in pipe or ():
            if text in line:
                return
        pytest.fail(f"no line contains {text!r}; {self.end()}")

    def end(self) -> tuple[int, str, str]:
        """Wait for its end; return the exit code, the unread output, and stderr."""
        output, errors = self.process.communicate(timeout=TIMEOUT_SECONDS)
        return self.process.returncode, output, errors

    def close(self) -> None:
        """Stop it if it runs, and close its pipes."""
        # SIGTERM first: a program that is killed leaves its children.
        self.process.terminate()
        try:
            self.process.communicate(timeout=30)
        except (subprocess.TimeoutExpired, ValueError):
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


class Run(Protocol):
    """Start a program: `run("crocbot", "check", CROCBOT_ACCESS="open")`."""

    def __call__(self, *arguments: str, **settings: str) -> Program: ...


def descendants(pid: int) -> dict[int, str]:
    """Return the command lines of the children of a process, by process id."""
    children = psutil.Process(pid).children()
    return {child.pid: " ".join(child.cmdline()) for child in children}


def wait_gone(pid: int) -> bool:
    """Return whether a process has ended, after waiting for it."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not psutil.pid_exists(pid)


class BridgeProcess:
    """
    A statsd-bridge on ports that the kernel chose.

    `prefix` is a program that runs it, and inherits `descriptors`.
    """

    def __init__(
        self,
        home: Path,
        flags: Sequence[str],
        *,
        prefix: Sequence[str] = (),
        descriptors: Sequence[int] = (),
    ) -> None:
        self.home = home
        self._log = home / "log"
        command = [
            *prefix,
            *(sys.executable, "-m", "statsd_bridge"),
            f"--statsd.listen-udp={HOST}:0",
            "--statsd.listen-tcp=",
            f"--web.listen-address={HOST}:0",
            *flags,
        ]
        # To a file: a pipe that is not read fills up.
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stderr=log,
                cwd=home,
                pass_fds=descriptors,
            )

    def log(self) -> str:
        """Return everything it has logged."""
        # A character may be written in part.
        return self._log.read_text(errors="replace")

    def wait(self) -> Self:
        """Wait until it is ready."""
        self.log_until("event=ready")
        return self

    def log_until(self, text: str) -> None:
        """Wait until it has logged a text."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while text not in self.log():
            ended = self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                pytest.fail(f"{text!r} is not in the bridge's log: {self.log()}")
            time.sleep(0.02)

    def _port(self, listener: str) -> int:
        match = re.search(rf"event=ready .*\b{listener}=\S+:(\d+)", self.log())
        assert match is not None, self.log()
        return int(match[1])

    @property
    def udp(self) -> int:
        """The port of its UDP listener."""
        return self._port("udp")

    @property
    def tcp(self) -> int:
        """The port of its TCP listener."""
        return self._port("tcp")

    @property
    def http(self) -> int:
        """The port of its HTTP server."""
        return self._port("http")

    def send(self, *datagrams: bytes) -> None:
        """Send over UDP."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for datagram in datagrams:
                sender.sendto(datagram, (HOST, self.udp))

    def request(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, str]:
        """Send an HTTP request; return status and body."""
        url = f"http://{HOST}:{self.http}{path}"
        request = urllib.request.Request(url, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def get(self, path: str, **headers: str) -> str:
        """Return the body of a GET request that must succeed."""
        status, body = self.request(path, **headers)
        assert status == 200
        return body

    def scrape_until(self, text: str) -> str:
        """Scrape until the page contains a text; return the page."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while text not in (page := self.get("/metrics")):
            if time.monotonic() > deadline:
                pytest.fail(f"{text!r} is not in:\n{page}\n{self.log()}")
            time.sleep(0.02)
        return page

    def receive_over_unix(self, gram: Path, stream: Path) -> None:
        """Send a line to each of two Unix sockets; wait until both are on the page."""
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lines,
        ):
            datagrams.sendto(b"a:1|c", str(gram))
            lines.connect(str(stream))
            lines.sendall(b"b:1|c\n")
            self.scrape_until("\na 1\n")
            self.scrape_until("\nb 1\n")

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; return the exit code."""
        self.process.send_signal(signal_number)
        return self.process.wait(TIMEOUT_SECONDS)


class Start(Protocol):
    """Start a bridge: `start("--flag=x", ...)`."""

    def __call__(
        self, *flags: str, prefix: Sequence[str] = (), descriptors: Sequence[int] = ()
    ) -> BridgeProcess: ...
