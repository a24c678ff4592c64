"""
The compose file, run with a Docker engine.

    stack    everything that needs no registry, so neither Grafana nor statsd-exporter;
             built, up and healthy before the first test

The engine is a developer's or the one that .ci/engine starts.  The files are copied
without a developer's .env, and names, ports and image belong to this run.  At the end
everything is removed, and that is checked.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import docker
import pytest
from docker.errors import DockerException, ImageNotFound
from docker.models.containers import Container

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
FOLDERS = ("crocbot", "statsd_bridge", "compose", "locks")
FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", ".dockerignore")
SERVICES = ("gateway", "bridge", "sandbox", "prometheus")
TIMEOUT_SECONDS = 120.0
BUILD_SECONDS = 600.0


class Stack:
    """A compose project, inspected through the APIs of Docker and Prometheus."""

    def __init__(self, home: Path, client: docker.DockerClient, base: str) -> None:
        self.client = client
        self.base = base
        self.name = f"crocbot-test-{os.getpid()}"
        self.image = f"crocbot:{self.name}"
        self.bridge_image = f"statsd-bridge:{self.name}"
        self.ports = {name: free_port() for name in ("BRIDGE_PORT", "PROMETHEUS_PORT")}
        self._home = home

    def compose(
        self,
        *arguments: str,
        seconds: float = TIMEOUT_SECONDS,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        """Run docker compose and return its output; a failure has its errors."""
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
                f"{arguments}: {done.stderr[-3000:]}{self._logs_of_failed()}"
            )
        return done.stdout

    def up(self, *services: str, **environment: str) -> None:
        """Start services and wait until they are healthy."""
        self.compose("up", "--detach", "--wait", *services, environment=environment)

    def container(self, service: str) -> Container:
        """Return the container of a service."""
        label = "com.docker.compose"
        labels = [f"{label}.project={self.name}", f"{label}.service={service}"]
        (found,) = self.client.containers.list(all=True, filters={"label": labels})
        return found

    def address(self, service: str) -> str:
        """Return the IP address of a service."""
        networks = self.container(service).attrs["NetworkSettings"]["Networks"]
        return str(networks[f"{self.name}_default"]["IPAddress"])

    def lines(self, service: str) -> list[str]:
        """Return the lines of a service's log."""
        return str(self.container(service).logs().decode()).splitlines()

    def prometheus(self, path: str, **query: str) -> Any:
        """Call Prometheus' API; return the data."""
        url = f"http://127.0.0.1:{self.ports['PROMETHEUS_PORT']}/api/v1/{path}"
        parameters = urllib.parse.urlencode(query)
        with urllib.request.urlopen(f"{url}?{parameters}", timeout=30) as response:
            result = json.load(response)
        assert result["status"] == "success"
        return result["data"]

    def query(self, expression: str) -> list[Any]:
        """Return the result of a query."""
        return list(self.prometheus("query", query=expression)["result"])

    def value(self, expression: str) -> float:
        """Return the number of a query; 0 if it is empty."""
        result = self.query(expression)
        return float(result[0]["value"][1]) if result else 0.0

    def answers(self) -> int:
        """Return how many answers the users have received."""
        return sum("bot -> " in line for line in self.lines("sandbox"))

    def answer_more(self, count: int = 5) -> None:
        """Wait for `count` more answers."""
        goal = self.answers() + count
        self.until(lambda: self.answers() >= goal)

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait until a condition is true."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "the condition is still false"
            time.sleep(0.5)

    def take_down(self) -> None:
        """Remove everything of this project."""
        self.compose("--profile=*", "down", "--volumes", "--remove-orphans")
        for image in self._built():
            self.client.images.remove(image.id, force=True)

    def _logs_of_failed(self) -> str:
        """Return the last lines of containers that do not run or are unhealthy."""
        text = ""
        for each in self.client.containers.list(all=True, filters=self._ours()):
            if each.health == "unhealthy" or each.status != "running":
                text += f"\n{each.name}:\n{each.logs(tail=20).decode()}"
        return text

    def _built(self) -> list[Any]:
        """Return the images that were built here."""
        names = (self.image, self.bridge_image)
        return [each for name in names for each in self.client.images.list(name=name)]

    def _ours(self) -> dict[str, str]:
        return {"label": f"com.docker.compose.project={self.name}"}

    def remaining(self) -> list[str]:
        """Return the containers, networks, volumes and images of this project."""
        ours = self._ours()
        return [
            *(each.name for each in self.client.containers.list(True, filters=ours)),
            *(each.name for each in self.client.networks.list(filters=ours)),
            *(each.name for each in self.client.volumes.list(filters=ours)),
            *map(str, self._built()),
        ]


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """Connect to a Docker engine with compose; skip without one."""
    command = ["docker", "version", "--format={{.Server.Version}}"]
    if not (shutil.which("docker") and _output(*command)):
        why = "no Docker engine answers `docker version`"
        pytest.skip(os.environ.get("ENGINE_MISSING", why))
    if not _output("docker", "compose", "version"):
        pytest.skip("the command docker compose is missing: docs.docker.com/compose")
    context = _output(
        "docker", "context", "inspect", "--format={{.Endpoints.docker.Host}}"
    )
    client = docker.DockerClient(context, timeout=60)
    yield client
    client.close()


@pytest.fixture(scope="session")
def stack(
    engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Start everything, and remove it at the end."""
    base, *others = _images()
    for image in (base, *others):
        _pull(engine, image)
    made = Stack(_checkout(tmp_path_factory.mktemp("checkout")), engine, base)
    try:
        made.compose("build", seconds=BUILD_SECONDS)
        made.up(*SERVICES)
        yield made
    finally:
        made.take_down()
    assert made.remaining() == []


def _output(*command: str) -> str:
    """Return the output of a command; empty if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode else done.stdout.strip()


def _images() -> list[str]:
    """Return the Dockerfile's base and the images that are not built here."""
    dockerfile = (ROOT / "compose" / "Dockerfile").read_text()
    compose = (ROOT / "compose" / "compose.yml").read_text()
    base = re.findall(r"^ARG BASE=(\S+)$", dockerfile, re.MULTILINE)
    return base + re.findall(r"image: (prom/(?:prometheus|alertmanager):\S+)", compose)


def _pull(engine: docker.DockerClient, image: str) -> None:
    """Pull an image that is missing; skip if that fails."""
    try:
        engine.images.get(image)
    except ImageNotFound:
        try:
            engine.images.pull(image)
        except DockerException as error:
            pytest.skip(f"the image {image} is not here and cannot be pulled: {error}")


def _checkout(home: Path) -> Path:
    """Copy the files of a clone that compose uses."""
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", ".env")
        shutil.copytree(ROOT / name, home / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, home / name)
    return home
