"""Lines reach a descriptor in order; what it does not take is counted and reported."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from statsd_bridge.stderr import MAX_QUEUED_BYTES, LineWriter, StderrText

LINE = "x" * 999 + "\n"
TIMEOUT_SECONDS = 60.0


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe: where to read, where to write."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def read_lines(descriptor: int, count: int) -> list[str]:
    """Read a number of lines, which are not the last ones."""
    data = b""
    while data.count(b"\n") < count:
        data += os.read(descriptor, 65_536)
    return data.decode().splitlines(keepends=True)


@pytest.mark.parametrize("is_blocking", [True, False])
def test_a_pipe_that_is_not_read_holds_up_nothing(
    pipe: tuple[int, int], is_blocking: bool
) -> None:
    """All lines are read later or counted, and the count follows the lines."""
    reader, writer = pipe
    os.set_blocking(writer, is_blocking)
    lines = LineWriter(writer)
    sent = 3 * MAX_QUEUED_BYTES // len(LINE)
    for _ in range(sent):
        lines.write(LINE)
    dropped = lines.dropped
    read = read_lines(reader, sent - dropped + 1)

    assert 0 < dropped < sent
    assert read[:-1] == [LINE] * (sent - dropped)
    assert f" {dropped} " in read[-1]
    lines.write("after\n")
    assert read_lines(reader, 1) == ["after\n"]
    assert lines.dropped == dropped


def test_a_full_disk_is_reported_when_it_has_space(tmp_path: Path) -> None:
    """The report is the first line that is written again."""
    output = os.open("/dev/full", os.O_WRONLY)
    try:
        lines = LineWriter(output)
        for text in ("one\n", "two\n"):
            lines.write(text)
            assert lines.flush(TIMEOUT_SECONDS)
        with (tmp_path / "log").open("w") as file:
            os.dup2(file.fileno(), output)
        lines.write("three\n")
        assert lines.flush(TIMEOUT_SECONDS)
    finally:
        os.close(output)
    report, three = (tmp_path / "log").read_text().splitlines()

    assert (lines.dropped, three) == (2, "three")
    assert " 2 " in report


def test_a_closed_pipe_loses_lines_and_no_more() -> None:
    """A reader that has gone raises no exception."""
    reader, writer = os.pipe()
    os.close(reader)
    lines = LineWriter(writer)
    for _ in range(3):
        lines.write(LINE)
        assert lines.flush(TIMEOUT_SECONDS)
    os.close(writer)

    assert lines.dropped == 3


def test_the_end_does_not_wait_for_a_reader(pipe: tuple[int, int]) -> None:
    """Flushing returns although the pipe is full."""
    lines = LineWriter(pipe[1])
    for _ in range(200):
        lines.write(LINE)

    assert not lines.flush(0.01)
    read_lines(pipe[0], 200)
    assert lines.flush(TIMEOUT_SECONDS)


def test_what_python_prints_is_queued_too(pipe: tuple[int, int]) -> None:
    """`print` accepts the replacement of sys.stderr."""
    output = StderrText(LineWriter(pipe[1]))
    print("a", "\udc80", file=output, flush=True)  # type: ignore[call-overload]

    assert read_lines(pipe[0], 1) == ["a \\udc80\n"]
    assert not output.isatty()


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_standard_streams_are_replaced(closed: str) -> None:
    """The next descriptor that is opened is not one of them."""
    program = (
        "import os, sys; from statsd_bridge.stderr import open_missing_streams;"
        "open_missing_streams();"
        "sys.exit(os.open(os.devnull, os.O_RDONLY) <= 2)"
    )
    command = ["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, program]

    assert subprocess.run(command, check=False).returncode == 0
