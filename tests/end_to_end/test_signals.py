"""Signals, from the first line of the program on, and as the first process of a box."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.end_to_end.programs import TIMEOUT_SECONDS, BridgeProcess, Start

SCRIPT = str(Path(sys.executable).with_name("statsd-bridge"))
PROGRAMS = {"module": [sys.executable, "-m", "statsd_bridge"], "script": [SCRIPT]}
NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child")

IGNORED = ("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGXCPU")


@pytest.fixture(autouse=True)
def _no_coverage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure no coverage: it handles signals, too, and saves its data at exit."""
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def wait_handled(process: subprocess.Popen[bytes], number: int) -> None:
    """Wait until a process has a handler for a signal."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = re.search(r"SigCgt:\s*(\w+)", status)
        if caught and int(caught[1], 16) >> number - 1 & 1:
            return
        if process.poll() is not None:
            break
        time.sleep(0.001)
    pytest.fail(f"no handler for signal {number}; exit code {process.returncode}")


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_imports_stops_it(
    program: str, number: signal.Signals, tmp_path: Path
) -> None:
    """Exit code 0 and no traceback, once the first line has run."""
    pipe, modules = tmp_path / "pipe", tmp_path / "modules"
    os.mkfifo(pipe)
    modules.mkdir()
    # In place of a library: its import takes as long as the test wants.
    (modules / "click.py").write_text(f"open({str(pipe)!r}).read()\n")
    command = [*PROGRAMS[program], "--statsd.listen-udp=127.0.0.1:0"]
    environment = {**os.environ, "PYTHONPATH": str(modules)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, env=environment)
    # Returns once the program opens the pipe, too.
    with pipe.open("wb"):
        process.send_signal(number)
        assert process.wait(TIMEOUT_SECONDS) == 0
    assert (tmp_path / "log").read_text() == ""


def test_a_sighup_before_the_imports_reloads_later(launch: Start) -> None:
    """The bridge starts, and its rules are reloaded once it runs."""
    bridge = launch("--statsd.mapping-config=/dev/null")
    wait_handled(bridge.process, signal.SIGHUP)
    bridge.process.send_signal(signal.SIGHUP)
    bridge.process.send_signal(signal.SIGUSR1)
    page = bridge.wait().scrape_until('config_reloads_total{outcome="success"} 1.0')

    assert "statsd_exporter_loaded_mappings 0.0\n" in page
    bridge.log_until("signal=SIGUSR1")
    assert bridge.stop() == 0


def test_a_signal_ends_a_check_without_a_good_exit_code(tmp_path: Path) -> None:
    """A check that is interrupted says nothing about the files."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    rules = f"--statsd.mapping-config={pipe}"
    process = subprocess.Popen([*PROGRAMS["module"], "--check-config", rules])
    with pipe.open("wb"):
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_SECONDS) == -signal.SIGTERM


@pytest.mark.parametrize("argument", ["@", "--statsd.mapping-config="])
def test_a_start_that_hangs_can_be_stopped(argument: str, tmp_path: Path) -> None:
    """A file is a pipe into which nothing is written."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = subprocess.Popen([*PROGRAMS["module"], f"{argument}{pipe}"])
    # Returns once the program opens the pipe, too.
    with pipe.open("wb"):
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_SECONDS) == 0


def test_signals_without_a_meaning_are_ignored_and_logged(start: Start) -> None:
    """One line each; real-time signals too."""
    bridge = start()
    numbers = [getattr(signal, name) for name in IGNORED]
    for number in (*numbers, signal.SIGPIPE, signal.SIGRTMIN + 1):
        bridge.process.send_signal(number)
    for name in (*IGNORED, "SIGRTMIN+1"):
        wait_logged(bridge, f'event="signal ignored" signal={name}\n')

    assert bridge.stop() == 0


def wait_logged(bridge: BridgeProcess, text: str) -> None:
    """Wait until the log of a bridge contains a text."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while text not in bridge.log():
        if time.monotonic() > deadline:
            pytest.fail(f"{text!r} is not in {bridge.log()}")
        time.sleep(0.02)


def test_a_second_signal_changes_nothing(start: Start) -> None:
    """Exit code 0 also if signals arrive until the end."""
    bridge = start()
    while bridge.process.poll() is None:
        bridge.process.send_signal(signal.SIGTERM)

    assert bridge.process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_first_process_of_a_container_handles_signals(
    launch: Start, number: signal.Signals
) -> None:
    """The kernel discards signals without a handler for it."""
    if shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("a namespace of processes needs unshare and root")
    bridge = launch("--statsd.mapping-config=/dev/null", prefix=NAMESPACE).wait()
    children = Path(f"/proc/{bridge.process.pid}/task/{bridge.process.pid}/children")
    (first,) = map(int, children.read_text().split())
    os.kill(first, number)
    if number == signal.SIGHUP:
        bridge.scrape_until('config_reloads_total{outcome="success"} 1.0')
        os.kill(first, signal.SIGTERM)

    assert bridge.process.wait(TIMEOUT_SECONDS) == 0


def test_a_reload_that_hangs_holds_up_nothing(start: Start, tmp_path: Path) -> None:
    """Lines and pages go on, requests wait together, and a signal stops the bridge."""
    rules, pipe = tmp_path / "rules.yml", tmp_path / "pipe"
    rules.write_text("mappings: [{match: a, name: old}]")
    bridge = start(f"--statsd.mapping-config={rules}")
    os.mkfifo(pipe)
    pipe.replace(rules)
    for number in range(5):
        bridge.process.send_signal(signal.SIGHUP)
        bridge.send(b"a:1|c")
        bridge.scrape_until(f"\nold {number + 1}\n")
    for number, name in enumerate(("first", "second"), 1):
        # It is opened for writing only while the bridge reads.
        rules.write_text(f"mappings: [{{match: a, name: {name}}}]")
        success = f'config_reloads_total{{outcome="success"}} {number}.0'
        assert 'outcome="failure"' not in bridge.scrape_until(success)
    bridge.send(b"a:1|c")
    bridge.scrape_until("\nsecond 1\n")
    bridge.process.send_signal(signal.SIGHUP)

    assert bridge.stop() == 0
