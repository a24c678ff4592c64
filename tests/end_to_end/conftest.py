"""Fixtures with real processes, sockets and HTTP; all of them end with the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.programs import BridgeProcess, Program, Run, Start
from tests.end_to_end.world import World, open_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Run a sandbox with free ports for a bridge and a gateway, not yet started."""
    async with open_world(tmp_path) as world:
        yield world


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Start programs with their output on pipes."""
    programs: list[Program] = []

    def start(*arguments: str, **settings: str) -> Program:
        programs.append(Program(arguments, tmp_path, settings))
        return programs[-1]

    yield start
    for program in programs:
        program.close()


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start bridges without waiting until they are ready."""
    launched: list[BridgeProcess] = []

    def launching(*flags: str, **options: Any) -> BridgeProcess:
        home = tmp_path_factory.mktemp("bridge")
        launched.append(BridgeProcess(home, flags, **options))
        return launched[-1]

    yield launching
    for bridge in launched:
        if bridge.process.poll() is None:
            # Not SIGKILL, which would lose what was measured of its coverage.
            bridge.stop()


@pytest.fixture
def start(launch: Start) -> Start:
    """Start bridges and wait until they are ready."""
    return lambda *flags, **options: launch(*flags, **options).wait()
