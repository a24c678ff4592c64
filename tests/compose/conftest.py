"""
The compose file, run for real: what its tests share.

    stack    all that can be had without a registry, so neither Grafana nor
             statsd-exporter; built, up and healthy before the first test

The engine is whichever answers: a developer's, or the one that .ci/engine makes.  The
files are copied, so that no developer's .env gets in, and names, ports and image are
this run's own.  At the end nothing is left behind, and that is checked.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import DockerException, ImageNotFound
from docker.models.containers import Container

ROOT = Path(__file__).parents[2]
FOLDERS = ("crocbot", "statsd_bridge", "compose")
FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", ".dockerignore")
SERVICES = ("gateway", "bridge", "sandbox", "prometheus")
PATIENCE = 120.0
BUILD_SECONDS = 600.0


class Stack:
    """A project of compose, asked by the Docker API and by Prometheus'."""

    def __init__(self, home: Path, client: docker.DockerClient, base: str) -> None:
        self.client = client
        self.base = base
        self.name = f"crocbot-test-{os.getpid()}"
        self.image = f"crocbot:{self.name}"
        self.ports = {name: _free_port() for name in ("BRIDGE_PORT", "PROMETHEUS_PORT")}
        self._home = home

    def compose(
        self, *arguments: str, seconds: float = PATIENCE, **environment: str
    ) -> str:
        """Run docker compose; what it complained of is in the failure if it fails."""
        ports = {name: str(port) for name, port in self.ports.items()}
        done = subprocess.run(
            [
                *("docker", "compose", "--file=compose/compose.yml"),
                *(f"--project-name={self.name}", *arguments),
            ],
            cwd=self._home,
            env={**os.environ, "CROCBOT_TAG": self.name, **ports, **environment},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode:
            raise AssertionError(
                f"{arguments}: {done.stderr[-3000:]}{self._last_words()}"
            )
        return done.stdout

    def up(self, *services: str, **environment: str) -> None:
        """Start services; returns when they are healthy."""
        self.compose("up", "--detach", "--wait", *services, **environment)

    def container(self, service: str) -> Container:
        """The one container of a service."""
        label = "com.docker.compose"
        labels = [f"{label}.project={self.name}", f"{label}.service={service}"]
        (found,) = self.client.containers.list(all=True, filters={"label": labels})
        return found

    def address(self, service: str) -> str:
        """Where a service is in the network."""
        networks = self.container(service).attrs["NetworkSettings"]["Networks"]
        return str(networks[f"{self.name}_default"]["IPAddress"])

    def lines(self, service: str) -> list[str]:
        """All lines that a service wrote."""
        return str(self.container(service).logs().decode()).splitlines()

    def prometheus(self, path: str, **query: str) -> Any:
        """Call Prometheus' API; returns the data."""
        url = f"http://127.0.0.1:{self.ports['PROMETHEUS_PORT']}/api/v1/{path}"
        words = urllib.parse.urlencode(query)
        with urllib.request.urlopen(f"{url}?{words}", timeout=30) as answer:
            told = json.load(answer)
        assert told["status"] == "success"
        return told["data"]

    def query(self, expression: str) -> list[Any]:
        """Ask Prometheus; returns the series that it finds."""
        return list(self.prometheus("query", query=expression)["result"])

    def value(self, expression: str) -> float:
        """Ask Prometheus for one number; 0 where there is none."""
        result = self.query(expression)
        return float(result[0]["value"][1]) if result else 0.0

    def answers(self) -> int:
        """How often the bot has answered, as people saw it."""
        return sum("bot -> " in line for line in self.lines("sandbox"))

    def answer_more(self, count: int = 5) -> None:
        """Wait until people have been answered so many times more."""
        goal = self.answers() + count
        self.until(lambda: self.answers() >= goal)

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.5)

    def take_down(self) -> None:
        """Remove all that there is of this project."""
        self.compose("--profile=*", "down", "--volumes", "--remove-orphans")
        for image in self.client.images.list(name=self.image):
            self.client.images.remove(image.id, force=True)

    def _last_words(self) -> str:
        """What those said that are not well."""
        words = ""
        for each in self.client.containers.list(all=True, filters=self._ours()):
            if each.health == "unhealthy" or each.status != "running":
                words += f"\n{each.name}:\n{each.logs(tail=20).decode()}"
        return words

    def _ours(self) -> dict[str, str]:
        return {"label": f"com.docker.compose.project={self.name}"}

    def left(self) -> list[str]:
        """What there is of this project."""
        ours = self._ours()
        return [
            *(each.name for each in self.client.containers.list(True, filters=ours)),
            *(each.name for each in self.client.networks.list(filters=ours)),
            *(each.name for each in self.client.volumes.list(filters=ours)),
            *map(str, self.client.images.list(name=self.image)),
        ]


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """A Docker engine that answers, with a compose to use it; or a skip."""
    words = ["docker", "version", "--format={{.Server.Version}}"]
    if not (shutil.which("docker") and _told(*words)):
        why = "no Docker engine answers `docker version`"
        pytest.skip(os.environ.get("ENGINE_MISSING", why))
    if not _told("docker", "compose", "version"):
        pytest.skip("the command docker compose is missing: docs.docker.com/compose")
    context = _told(
        "docker", "context", "inspect", "--format={{.Endpoints.docker.Host}}"
    )
    client = docker.DockerClient(context, timeout=60)
    yield client
    client.close()


@pytest.fixture(scope="session")
def stack(
    engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Everything that the tests start, up and healthy; gone at the end."""
    base, *others = _images()
    for image in (base, *others):
        _have(engine, image)
    made = Stack(_checkout(tmp_path_factory.mktemp("checkout")), engine, base)
    try:
        made.compose("build", seconds=BUILD_SECONDS)
        made.up(*SERVICES)
        yield made
    finally:
        made.take_down()
    assert made.left() == []


def _told(*command: str) -> str:
    """What a command says; nothing if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode else done.stdout.strip()


def _images() -> list[str]:
    """The Dockerfile's base, and what is run as it is."""
    dockerfile = (ROOT / "compose" / "Dockerfile").read_text()
    compose = (ROOT / "compose" / "compose.yml").read_text()
    base = re.findall(r"^ARG BASE=(\S+)$", dockerfile, re.MULTILINE)
    return base + re.findall(r"image: (prom/(?:prometheus|alertmanager):\S+)", compose)


def _have(engine: docker.DockerClient, image: str) -> None:
    """Get an image, or skip."""
    try:
        engine.images.get(image)
    except ImageNotFound:
        try:
            engine.images.pull(image)
        except DockerException as error:
            pytest.skip(f"the image {image} is not here and cannot be pulled: {error}")


def _checkout(home: Path) -> Path:
    """Copy what a user has after `git clone`, as far as it is used here."""
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", ".env")
        shutil.copytree(ROOT / name, home / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, home / name)
    return home


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
