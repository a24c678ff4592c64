"""The process: its limit of open files, and errors of its event loop."""

from __future__ import annotations

import asyncio
import errno
import resource

import pytest
from structlog.testing import capture_logs

from crocbot.service.process import MAX_OPEN_FILES, LoopErrors, raise_open_files

INFINITE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [
        (256, 4096, (4096, 4096)),
        (256, INFINITE, (MAX_OPEN_FILES, INFINITE)),
        (256, 10**6, (MAX_OPEN_FILES, 10**6)),
        (256, 256, None),
        (10**6, 10**6, None),
        (INFINITE, INFINITE, None),
    ],
)
@pytest.mark.parametrize("permitted", [True, False])
def test_open_files(
    monkeypatch: pytest.MonkeyPatch,
    soft: int,
    hard: int,
    expected: tuple[int, int] | None,
    permitted: bool,
) -> None:
    """The soft limit is raised to the hard one within bounds, if that is permitted."""
    tried: list[tuple[int, int]] = []

    def setrlimit(_: int, limits: tuple[int, int]) -> None:
        tried.append(limits)
        if not permitted:
            raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    raise_open_files()

    assert tried == ([] if expected is None else [expected])


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
async def test_connections_that_are_not_accepted(
    number: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """asyncio reports each of them; the log has one line a minute."""
    errors, loop = LoopErrors(), asyncio.get_running_loop()
    error = OSError(number, "Too many open files")
    with capture_logs() as logs:
        for _ in range(1000):
            errors(loop, {"message": "socket.accept() failed", "exception": error})

    assert [log["event"] for log in logs] == ["connections not accepted"]
    assert capfd.readouterr().err == ""


async def test_other_errors(caplog: pytest.LogCaptureFixture) -> None:
    """Any other error of the event loop is logged as asyncio does."""
    errors, loop = LoopErrors(), asyncio.get_running_loop()
    for _ in range(2):
        errors(loop, {"message": "a bug", "exception": ZeroDivisionError("no")})

    assert [record.getMessage() for record in caplog.records] == ["a bug"] * 2
