"""`crocbot chat` in a pipe and in a real terminal."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crocbot.sandbox.children import clean_environment
from tests.end_to_end.terminal import TerminalProgram

PAGE = Path(__file__).parents[2] / "docs" / "chat.md"
EXAMPLE = re.compile(r"<!-- chat: (\w+) -->\n```\n\$ (.*)\n((?:.*\n)*?)```")
TIMEOUT_SECONDS = 90
AGENT = """
import asyncio
from crocbot.agents import AnswerFile, Button, Buttons, Usage

async def answer(question):
    print("printed by the function")
    if question.message == "slow":
        for number in range(600):
            yield f"word{number} "
            await asyncio.sleep(0.1)
    elif question.message == "broken":
        raise ValueError("no such word: " + question.message)
    elif question.files or question.images:
        sizes = [len(each.content) for each in (*question.files, *question.images)]
        yield f"{question.message}: {sizes}"
    elif question.button:
        yield f"pressed {question.button.data}"
    elif question.message == "all":
        yield "\\x1b[31mred\\x9b0m"
        yield AnswerFile(content=b"hello", name="../x\\x1b.txt", caption="a file")
        yield Buttons([[Button("Yes\\x07", data="y"), Button("Go", url="https://a.b/")]])
        yield Usage(3, 4)
    else:
        yield f"{len(question.history) // 2}: {question.message}"
"""
PYTHON = {"CROCBOT_AGENT": "python", "CROCBOT_AGENT_FUNCTION": "an_agent:answer"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a working directory with an agent in it."""
    (tmp_path / "an_agent.py").write_text(AGENT)
    return tmp_path


def environment(home: Path, settings: dict[str, str]) -> dict[str, str]:
    """Return the environment of a program whose home is a folder."""
    own = {"HOME": str(home), "PYTHONUTF8": "1", "TMPDIR": str(home)}
    return {**clean_environment(os.environ), **own, **settings}


def chat(
    home: Path, text: str, *arguments: str, **settings: str
) -> tuple[int, str, str]:
    """Run a chat with these lines; return exit code, output and errors."""
    ended = subprocess.run(
        [sys.executable, "-m", "crocbot", "chat", *arguments],
        input=text,
        capture_output=True,
        cwd=home,
        env=environment(home, settings),
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_a_pipe(home: Path) -> None:
    """Each line is answered in turn; the output has answers only."""
    text = "one\n\ntwo\r\n/usage\n/new\nthree"
    code, output, errors = chat(home, text, **PYTHON)

    assert code == 0
    lines = [line for line in output.splitlines() if "your share" not in line]
    assert lines == [
        *("0: one", "1: two"),
        *("answers in this chat: 2", "tokens: not counted by the agent"),
        "Let us begin anew: I have forgotten our conversation.",
        "0: three",
    ]
    assert set(errors.splitlines()) == {"printed by the function"}


def test_files_and_buttons(home: Path) -> None:
    """Files pass by path in both directions, buttons are pressed by their number."""
    (home / "a cat.txt").write_text("meow")
    (home / "empty.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + bytes(11) + b"\2\0\0\0\3" + bytes(8)
    )
    lines = (
        "all\n/press 1\n/file 'a cat.txt' look\n/file empty.png\n/file a cat.txt\n"
        "/press 2\n/press 3\n/file nowhere\n/file .\n/file\n/usage\n"
    )
    code, output, errors = chat(home, lines, "--files", "saved", **PYTHON)

    text, yes, go, file, caption, *rest = output.splitlines()
    assert code == 1
    assert text == "\\x1b[31mred\\x9b0m"
    assert (yes, go) == ("[1] Yes\\x07", "[2] Go https://a.b/")
    assert file == f"[document {home / 'saved' / '1-x.txt'}]"
    assert (home / "saved" / "1-x.txt").read_text() == "hello"
    assert caption == "a file"
    assert rest == [
        "pressed y",
        *("look", "[document, a cat.txt, text/plain, 4 bytes]: [4]"),
        "[photo, 2x3]: [32]",
        "[document, a cat.txt, text/plain, 4 bytes]: [4]",
        *("answers in this chat: 5", "tokens: 7 (in 3, out 4)"),
        "your share: 5 answers, 7 tokens (in 3, out 4), 100.0 % of all",
    ]
    remarks = [line for line in errors.splitlines() if "printed" not in line]
    assert remarks == [
        "this button opens an address, which the bot does not learn",
        "there is no button of this number",
        "not sent: nowhere: there is no such file",
        "not sent: .: it is no file",
        "not sent: write /file and the path of a file",
    ]


def test_an_error_of_the_agent(home: Path) -> None:
    """The person reads a sentence, the developer where it was; the exit code is 1."""
    code, output, errors = chat(home, "broken\n", **PYTHON)

    assert code == 1
    assert output.startswith("Sorry, something broke")
    assert re.search(r'File ".*an_agent.py", line \d+, in answer', errors)
    assert "ValueError: no such word: …" in errors
    assert "crocbot/agents" not in errors


def test_a_long_line(home: Path) -> None:
    """It is split as by Telegram's apps, and is one question."""
    code, output, _ = chat(home, "🐊" * 5000 + "\n", CROCBOT_GATHER_SECONDS="0.5")

    assert code == 0
    assert output.replace("\n", "") == "🐊" * 5000


def test_settings_of_the_bot_are_not_used(home: Path) -> None:
    """Neither token, webhook, metrics nor the state directory of the real gateway."""
    (home / ".env").write_text("TELEGRAM_BOT_TOKEN_FILE=/nowhere\n")
    code, output, errors = chat(
        home,
        "hello\n",
        CROCBOT_WEBHOOK_URL="https://bot.example.org/",
        CROCBOT_STATE_DIR=str(home / "state"),
        CROCBOT_STATSD_PORT="nonsense",
        CROCBOT_HEALTH_ADDRESS="nonsense",
    )

    assert (code, output, errors) == (0, "hello\n", "")
    assert {each.name for each in home.iterdir()} == {".env", "an_agent.py"}


def test_a_state_directory(home: Path) -> None:
    """With --state-dir a conversation goes on; that of the gateway is refused."""
    for turn in (0, 1):
        code, output, _ = chat(home, "hello\n", "--state-dir", "kept", **PYTHON)
        assert (code, output) == (0, f"{turn}: hello\n")
    kept = str(home / "kept")
    code, _, errors = chat(home, "", "--state-dir", "kept", CROCBOT_STATE_DIR=kept)

    assert code == 2
    assert (
        errors == "crocbot: --state-dir kept is that of the gateway: choose another\n"
    )


def test_access(home: Path) -> None:
    """A user who is not listed is denied, or gets a pairing code."""
    code, output, errors = chat(home, "hi\n", "--user", "8", CROCBOT_ALLOW_FROM="7")
    assert (code, output) == (1, "")
    assert "not answered: this user has no access" in errors

    code, output, _ = chat(home, "hi\n", "--user", "8", CROCBOT_ACCESS="pairing")
    assert code == 1
    assert "We have not met" in output

    code, output, _ = chat(home, "/whoami\n", CROCBOT_ALLOW_FROM="9,7")
    assert code == 0
    assert output.startswith("user id: 7\n")


@pytest.mark.parametrize("command", ["chat", "gateway", "check"])
@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("an_agent:answr", "an_agent has no 'answr'; did you mean answer?"),
        ("nowhere:answer", "there is no module 'nowhere'"),
        ("broken:answer", r"\(broken.py, line 1\): ZeroDivisionError"),
        ("an_agent", "must be a module and a function in it, like agent:answer"),
    ],
)
def test_a_wrong_function(home: Path, command: str, function: str, error: str) -> None:
    """It is one line, and the exit code 2."""
    (home / "broken.py").write_text("1 / 0")
    settings = {**PYTHON, "CROCBOT_AGENT_FUNCTION": function}
    settings |= {"TELEGRAM_BOT_TOKEN": "1:a", "CROCBOT_ALLOW_FROM": "7"}
    settings |= {"CROCBOT_TELEGRAM_API_URL": "http://127.0.0.1:1"}
    ended = subprocess.run(
        [sys.executable, "-m", "crocbot", command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=home,
        env=environment(home, settings),
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    lines = [line for line in ended.stderr.splitlines() if "CROCBOT_AGENT_F" in line]

    assert ended.returncode == 2
    assert len(lines) == 1
    assert lines[0].startswith("crocbot: ")
    assert re.search(error, lines[0])
    assert "Traceback" not in ended.stderr


def test_a_signal_ends_a_pipe(home: Path) -> None:
    """Ctrl-C stops an answer that is under way, then the next one ends the chat."""
    process = subprocess.Popen(
        [sys.executable, "-m", "crocbot", "chat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=home,
        env=environment(home, PYTHON),
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write("slow\n")
    process.stdin.flush()
    assert process.stderr.readline() == "printed by the function\n"
    process.send_signal(signal.SIGINT)
    lines = list(iter(process.stdout.readline, "Stopped.\n"))
    process.send_signal(signal.SIGINT)

    assert process.wait(TIMEOUT_SECONDS) == 1
    assert all(line.startswith("word0") for line in lines)
    for pipe in (process.stdin, process.stdout, process.stderr):
        pipe.close()


@pytest.mark.parametrize(
    ("redirected", "code", "error"),
    [
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        ("<&-", 0, ""),
        ("</dev/null", 0, ""),
        ("<an_agent.py | head -n 1", 0, ""),
        (">/dev/full", 1, "crocbot: the output cannot be written: "),
    ],
)
def test_descriptors(home: Path, redirected: str, code: int, error: str) -> None:
    """Closed ones, files and a reader that goes are no bug; a full disk is an error."""
    program = f"{shlex.quote(sys.executable)} -m crocbot chat {redirected}"
    ended = subprocess.run(
        ["/bin/sh", "-c", program],
        input="hello\nagain\n",
        capture_output=True,
        cwd=home,
        env=environment(home, {}),
        text=True,
        timeout=TIMEOUT_SECONDS,
    )

    assert ended.returncode == code
    assert ended.stderr.startswith(error)
    assert "Traceback" not in ended.stderr


@pytest.fixture
def terminal(home: Path) -> Iterator[TerminalProgram]:
    """Run a chat in a terminal."""
    program = TerminalProgram("crocbot", "chat", home=home, settings=PYTHON)
    yield program
    program.close()


async def test_a_terminal(terminal: TerminalProgram) -> None:
    """Answers grow, Ctrl-C and /stop stop them, Ctrl-D ends the chat."""
    await terminal.expect("Ctrl-D ends the chat.\r\n> ")
    for stop in ("ctrl-c", "/stop"):
        terminal.child.sendline("slow")
        await terminal.expect("word8 ")
        if stop == "/stop":
            terminal.child.sendline(stop)
        else:
            terminal.interrupt()
        await terminal.expect("Stopped.\r\n> ")
    terminal.interrupt()
    await terminal.expect("Ctrl-D ends the chat\r\n> ")
    terminal.child.sendline("all")
    await terminal.expect("[1] Yes\\x07")
    await terminal.expect("a file\r\n> ")
    terminal.child.sendline("/press 1")
    await terminal.expect("pressed y\r\n> ")
    terminal.child.sendline("slow")
    await terminal.expect("word0 ")
    terminal.child.sendeof()
    await terminal.expect("Stopped.")

    assert await terminal.end() == 0
    assert "\x1b" not in terminal.seen
    assert "\\x1b[31mred\\x9b0m" in terminal.seen


@pytest.mark.parametrize(
    ("name", "command", "shown"), EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))
)
async def test_the_page(home: Path, name: str, command: str, shown: str) -> None:
    """The examples of docs/chat.md are what a shell prints."""
    program = f"{shlex.quote(sys.executable)} -m crocbot chat"
    command = command.replace("crocbot chat", program)
    if name == "echo":
        terminal = TerminalProgram("crocbot", "chat", home=home, settings={})
        await terminal.expect("> ")
        terminal.child.sendline("hello")
        await terminal.expect("hello\r\nhello\r\n> ")
        terminal.close()
        return
    ended = subprocess.run(  # noqa: ASYNC221 (nothing else runs)
        ["/bin/sh", "-c", command],
        capture_output=True,
        cwd=home,
        env=environment(home, {}),
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    assert ended.stdout == shown
    assert ended.returncode == (1 if name == "access" else 0)
