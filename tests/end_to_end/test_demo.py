"""The demo does the main job, says so truthfully, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from crocbot.sandbox.metrics_page import MISSION


def test_it_answers_and_counts(run, tmp_path) -> None:
    """It ends by itself with 0: people were answered, the five metrics are shown.

    What an operator has set for a gateway of his own does not reach it.
    """
    (tmp_path / ".env").write_text("CROCBOT_ACCESS=nonsense\n")
    demo = run(
        *("crocbot", "demo", "--seconds", "5"),
        CROCBOT_ACCESS="nonsense",
        CROCBOT_AGENT="nonsense",
        TELEGRAM_BOT_TOKEN="1:somebodys-real-token",
    )
    code, output, errors = demo.end()

    assert (code, errors) == (0, "")
    assert re.search(r"Ada -> bot +/start", output)
    assert re.search(r"bot -> Ada +Hello", output)
    assert all(name in output for name in MISSION)
    assert re.search(
        r"crocbot_messages_total +command \d+ +media \d+ +text \d+", output
    )
    assert re.search(r"http://127\.0\.0\.1:\d+/metrics", output)
    assert output.splitlines()[-1].startswith("OK: ")
    assert "\x1b" not in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_well(run, descendants, gone, number) -> None:
    """Asked to end while people talk it waits for answers and leaves nothing behind."""
    demo = run("crocbot", "demo")
    demo.read_until("bot -> Ada")
    children = descendants(demo.process.pid)
    assert sorted(line.split(" -m ")[1].split()[0] for line in children.values()) == [
        "crocbot",
        "statsd_bridge",
    ]
    demo.process.send_signal(number)
    code, output, errors = demo.end()

    assert (code, errors) == (0, "")
    assert output.splitlines()[-1].startswith("OK: ")
    assert all(gone(child) for child in children)


def test_a_second_signal_ends_it_at_once(run, descendants, gone) -> None:
    """Asked twice it does not judge any more, says so, and still leaves nothing."""
    demo = run("crocbot", "demo")
    demo.read_until("bot -> Ada")
    children = descendants(demo.process.pid)
    demo.process.send_signal(signal.SIGINT)
    demo.process.send_signal(signal.SIGTERM)
    code, output, errors = demo.end()

    assert code == 1
    assert "nothing was judged" in errors
    assert "OK: " not in output
    assert all(gone(child) for child in children)


@pytest.mark.parametrize(
    ("name", "module"), [("gateway", "-m crocbot"), ("bridge", "-m statsd_bridge")]
)
def test_the_death_of_a_child_is_told(run, descendants, gone, name, module) -> None:
    """When a child dies the demo says which one, ends with 1 and leaves nothing."""
    demo = run("crocbot", "demo")
    demo.read_until("bot -> Ada")
    children = descendants(demo.process.pid)
    (victim,) = [pid for pid, line in children.items() if module in line]
    os.kill(victim, signal.SIGKILL)
    code, output, _ = demo.end()

    assert code == 1
    assert f"FAILED: the {name} ended with exit code -9" in output
    assert all(gone(child) for child in children)


def test_a_reader_may_leave(run, descendants, gone) -> None:
    """As in `crocbot demo | head`: it ends quietly and leaves nothing behind."""
    demo = run("crocbot", "demo")
    demo.read_until("bot -> Ada")
    children = descendants(demo.process.pid)
    demo.process.stdout.close()
    demo.process.wait(timeout=90)

    assert demo.process.stderr.read() == ""
    assert demo.process.returncode == 0
    assert all(gone(child) for child in children)


def test_busy_ports_are_left_alone(run, default_ports) -> None:
    """Where somebody has the usual ports, the demo takes others and says which."""
    code, output, _ = run("crocbot", "demo", "--seconds", "0").end()

    assert code == 0
    assert not default_ports & {int(port) for port in re.findall(r"1:(\d+)", output)}


@pytest.fixture
def default_ports() -> Iterator[set[int]]:
    """The usual ports, taken by us unless somebody has them already."""
    with ExitStack() as stack:
        for kind, port in ((socket.SOCK_DGRAM, 9125), (socket.SOCK_STREAM, 9102)):
            holder = stack.enter_context(socket.socket(socket.AF_INET, kind))
            if kind is socket.SOCK_STREAM:
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                holder.bind(("127.0.0.1", port))
                if kind is socket.SOCK_STREAM:
                    holder.listen()
            except OSError:
                continue
        yield {9125, 9102}
