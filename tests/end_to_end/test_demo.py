"""The demo does the main job, reports it truthfully, and leaves nothing behind."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from crocbot.sandbox.metrics_page import MISSION
from tests.end_to_end.programs import Program, Run, descendants, wait_gone
from tests.ports import HOST

DEFAULT_PORTS = {9125: socket.SOCK_DGRAM, 9102: socket.SOCK_STREAM}


@pytest.fixture(autouse=True)
def _one_demo_at_a_time() -> Iterator[None]:
    """Keep demos of other workers, which prefer the same ports, waiting."""
    lock = Path(tempfile.gettempdir()) / "crocbot-tests-default-ports.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def demo(run: Run) -> Iterator[Program]:
    """Start the demo, wait for its first answer, and at the end for its children."""
    program = run("crocbot", "demo")
    program.read_until("bot -> Ada")
    children = descendants(program.process.pid)
    yield program
    assert len(children) == 2
    assert all(map(wait_gone, children))


def test_it_answers_and_counts(run: Run, tmp_path: Path) -> None:
    """It ends with 0: users were answered, the five metrics are shown.

    Settings of a gateway in the environment or in `.env` do not affect it.
    """
    (tmp_path / ".env").write_text("CROCBOT_ACCESS=nonsense\n")
    demo = run(
        *("crocbot", "demo", "--seconds", "5"),
        CROCBOT_ACCESS="nonsense",
        CROCBOT_AGENT="echo",
        TELEGRAM_BOT_TOKEN="1:the-token-of-a-real-bot",
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


AGENT = """
async def answer(question):
    assert not question.media or question.images or question.files
    yield f"I do not echo {len(question.message)} characters."
    yield "Really."
"""


def test_its_own_agent_answers(run: Run, tmp_path: Path) -> None:
    """The agent that is set gets also photos and voice; its words are not judged."""
    (tmp_path / "an_agent.py").write_text(AGENT)
    (tmp_path / ".env").write_text(
        "TELEGRAM_BOT_TOKEN_FILE=/nowhere\nCROCBOT_WEBHOOK_URL=https://example.org/\n"
        "CROCBOT_AGENT=python\n"
    )
    demo = run(
        *("crocbot", "demo"),
        CROCBOT_AGENT_FUNCTION="an_agent:answer",
        CROCBOT_LIMIT_ALL_MINUTE="1",
    )
    demo.read_until("with the agent that CROCBOT_AGENT names: python")
    # In an answer to any of the users.
    demo.read_until(" characters.Really.")
    demo.process.send_signal(signal.SIGINT)
    code, output, errors = demo.end()

    assert (code, errors) == (0, ""), output
    assert re.search(r"OK: .*; what answers say is not judged\n$", output)


def test_a_wrong_agent(run: Run) -> None:
    """A setting of the agent that is wrong is one line, and the exit code 2."""
    code, output, errors = run("crocbot", "demo", CROCBOT_AGENT="python").end()

    assert (code, output) == (2, "")
    assert errors == (
        "crocbot: CROCBOT_AGENT is 'python': it needs CROCBOT_AGENT_FUNCTION\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(demo: Program, number: signal.Signals) -> None:
    """It waits for the answers to what users have written, and ends with 0."""
    modules = {
        line.split(" -m ")[1].split()[0]
        for line in descendants(demo.process.pid).values()
    }
    demo.process.send_signal(number)
    code, output, errors = demo.end()

    assert modules == {"crocbot", "statsd_bridge"}
    assert (code, errors) == (0, ""), output
    assert output.splitlines()[-1].startswith("OK: ")


def test_a_second_signal_ends_it_at_once(demo: Program) -> None:
    """It does not judge the result, reports that, and ends with 1."""
    # Paused, so that it cannot end in order between the two.
    for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
        demo.process.send_signal(number)
    code, output, errors = demo.end()

    assert code == 1
    assert "nothing was judged" in errors
    assert "OK: " not in output


@pytest.mark.parametrize(
    ("name", "module"), [("gateway", "-m crocbot"), ("bridge", "-m statsd_bridge")]
)
def test_the_death_of_a_child_is_reported(
    demo: Program, name: str, module: str
) -> None:
    """It names the program that ended, and ends with 1."""
    children = descendants(demo.process.pid)
    (victim,) = [pid for pid, line in children.items() if module in line]
    os.kill(victim, signal.SIGKILL)
    code, output, _ = demo.end()

    assert code == 1
    assert f"FAILED: the {name} ended with exit code -9" in output


def test_a_closed_pipe_ends_it(demo: Program) -> None:
    """It ends quietly with 0, like in `crocbot demo | head`."""
    assert demo.process.stdout is not None
    assert demo.process.stderr is not None
    demo.process.stdout.close()
    demo.process.wait(timeout=90)

    assert demo.process.stderr.read() == ""
    assert demo.process.returncode == 0


def test_ports_in_use(run: Run, default_ports: set[int]) -> None:
    """Where the default ports are taken it uses others and prints them."""
    code, output, _ = run("crocbot", "demo", "--seconds", "0").end()

    assert code == 0
    assert not default_ports & {int(port) for port in re.findall(r"1:(\d+)", output)}


@pytest.fixture
def default_ports() -> Iterator[set[int]]:
    """Take the default ports, unless another program has them."""
    with ExitStack() as stack:
        for port, kind in DEFAULT_PORTS.items():
            holder = stack.enter_context(socket.socket(socket.AF_INET, kind))
            if kind is socket.SOCK_STREAM:
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                holder.bind((HOST, port))
                if kind is socket.SOCK_STREAM:
                    holder.listen()
            except OSError:
                continue
        yield set(DEFAULT_PORTS)
