"""The command line: output and exit codes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

import crocbot
from crocbot import cli, inbox, leases_sql, pairing, service, store
from crocbot.botapi import Client
from crocbot.cli import common
from crocbot.database_url import DatabaseUrl
from crocbot.inbox import postgresql, sql
from crocbot.inbox.postgresql import Arrival, Closing
from crocbot.model import Disposition, Outcome
from crocbot.sandbox import Person, Server
from tests.crocbot.fakes import serving
from tests.crocbot.transcription_server import TranscriptionServer
from tests.ports import free_port


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a command in this process; return its exit code and output."""
    code = cli.main(arguments)
    captured = capsys.readouterr()
    return code, captured.out + captured.err


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the settings of the developer who runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("CROCBOT_", "TELEGRAM_")):
            monkeypatch.delenv(name)


HEAVY = {"aiohttp", "asyncio", "pydantic", "sqlite3", "structlog", "telegram"}


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Help names all commands, each with the first sentence of its own help."""
    code, text = run(["--help"], capsys)

    assert code == 0
    for name, command in cli.cli.commands.items():
        assert re.search(rf"^  {name} +\w", text, re.MULTILINE)
        assert command.get_short_help_str().rstrip(".") in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is that of the package."""
    assert run(["--version"], capsys) == (0, f"crocbot, version {service.VERSION}\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fly"], "'fly'"),
        (["gateway", "--fly"], "'--fly'"),
        (["check", "fly"], "(fly)"),
        (["mapping", "fly"], "(fly)"),
        (["pairing"], "Usage: "),
        (["pairing", "approve"], "'CODE'"),
        (["pairing", "revoke", "ada"], "'ada'"),
        (["pairing", "revoke", "--", "-1001234"], "-1001234 is not in the range"),
        (["pairing", "revoke", "9" * 20], "is not in the range"),
        (["inbox", "retry", "first"], "'first'"),
        (["inbox", "retry", "--", "-1"], "-1 is not in the range"),
        (["inbox", "retry", "9" * 20], "is not in the range"),
        (["inbox", "fly"], "'fly'"),
        (["demo", "--seconds", "-1"], "-1.0 is not in the range"),
        (["demo", "--seconds", "nan"], "nan is not a number of seconds"),
        (["demo", "--seconds", "inf"], "inf is not a number of seconds"),
        (["demo", "--seconds", "soon"], "'soon'"),
    ],
)
def test_a_wrong_argument(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong command, flag or argument is named, with exit code 2."""
    code, text = run(arguments, capsys)

    assert code == 2
    assert expected in text
    assert "bug" not in text


@pytest.mark.parametrize("command", ["gateway", "check"])
def test_no_token(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a token there is one line, and exit code 2."""
    code, text = run([command], capsys)

    assert code == 2
    assert text.startswith("crocbot: TELEGRAM_BOT_TOKEN is not set: ")
    assert text.count("\n") == 1


def test_a_bug(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug has a traceback, and exit code 1."""

    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(common, "load_settings", fail)
    code, text = run(["gateway"], capsys)

    assert code == 1
    assert "ZeroDivisionError" in text


def program(code: str) -> tuple[int, str]:
    """Run Python code in a new process; return its exit code and standard error."""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return run.returncode, run.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["gateway", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    """--help is printed before any library but click is imported."""
    assert program(
        # Measuring coverage imports some of them before the program starts.
        "import sys; before = set(sys.modules); from crocbot import cli;"
        f"assert cli.main({arguments}) == 0;"
        f"assert not (set(sys.modules) - before) & {HEAVY}"
    ) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "module", "extras"),
    [
        (["gateway"], "pydantic", "gateway"),
        (["inbox", "retry"], "pydantic", "gateway"),
        (["demo", "--seconds", "1"], "aiohttp", "gateway,bridge"),
    ],
)
def test_a_missing_extra(arguments: list[str], module: str, extras: str) -> None:
    """A command whose libraries are not installed says in one line what to install."""
    code, text = program(
        f"import sys; sys.modules[{module!r}] = None\n"
        f"from crocbot import cli; sys.exit(cli.main({arguments}))"
    )
    plural = "s" if "," in extras else ""
    names = extras.replace(",", '" and "')

    assert code == 2
    assert text == (
        f'crocbot {arguments[0]} needs the extra{plural} "{names}":'
        f" pip install 'crocbot[{extras}]'\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["mapping"], ["pairing", "list"], ["inbox"], ["check"]],
)
def test_a_full_disk(arguments: list[str], tmp_path: Path) -> None:
    """Output that cannot be written is one line on standard error, and exit code 1."""
    schemas = [inbox.SCHEMA, pairing.SCHEMA]
    with store.opened(tmp_path / "crocbot.sqlite3", schemas):
        pass
    environment = {"CROCBOT_STATE_DIR": str(tmp_path), "TELEGRAM_BOT_TOKEN": "1:test"}
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [sys.executable, "-m", "crocbot", *arguments],
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )

    assert run.returncode == 1
    assert run.stderr == (
        "crocbot: the output cannot be written: No space left on device\n"
    )


def test_a_missing_module_of_the_gateway() -> None:
    """A module of the gateway itself that is missing is a bug."""
    code, text = program(
        "import sys; sys.modules['crocbot.settings'] = None\n"
        "from crocbot import cli; sys.exit(cli.main(['check']))"
    )

    assert code == 1
    assert "bug, please report it" in text


def test_mapping(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """`crocbot mapping` prints the mapping file byte by byte."""
    assert cli.main(["mapping"]) == 0
    file = Path(crocbot.__file__).with_name("mapping.yml")
    assert capfdbinary.readouterr() == (file.read_bytes(), b"")


def test_pairing(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The operator lists, approves and revokes codes without a token."""
    monkeypatch.setenv("CROCBOT_STATE_DIR", str(tmp_path / "state"))
    for arguments in (["list"], ["approve", "ABC"], ["revoke", "8"]):
        assert run(["pairing", *arguments], capsys) == (
            2,
            f"crocbot: CROCBOT_STATE_DIR: there is no inbox in {tmp_path}/state\n",
        )
    assert not (tmp_path / "state").exists()
    with store.opened(tmp_path / "state/crocbot.sqlite3", [pairing.SCHEMA]):
        pass
    assert run(["pairing", "list"], capsys) == (0, "no pairings\n")
    with store.opened(tmp_path / "state/crocbot.sqlite3", [pairing.SCHEMA]) as table:
        code = pairing.offer(table, 8, time.time())
    assert code is not None

    status, text = run(["pairing", "list"], capsys)
    assert (status, text) == (0, f"user 8  pending, code {code}, 60 min left\n")
    assert run(["pairing", "approve", code.lower()], capsys) == (
        0,
        "approved: user 8\n",
    )
    assert run(["pairing", "list"], capsys)[1].startswith("user 8  approved ")
    assert run(["pairing", "revoke", "8"], capsys)[0] == 0
    assert run(["pairing", "revoke", "8"], capsys) == (
        2,
        "crocbot: user 8 was not paired: see crocbot pairing list\n",
    )
    status, text = run(["pairing", "approve", "\udcff"], capsys)
    assert (status, text[:9]) == (2, "crocbot: ")
    status, text = run(["pairing", "approve", code], capsys)
    assert (status, text.count("\n")) == (2, 1)
    assert text.startswith(f"crocbot: {code!r} is not a pending code")


@pytest.mark.parametrize("arguments", [["inbox"], ["pairing", "list"], ["check"]])
def test_a_state_directory_that_cannot_be_read(
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A path that the system refuses to look up is an error of the operator."""
    monkeypatch.setenv("CROCBOT_STATE_DIR", "/" + "x" * 300)
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "1:test")
    monkeypatch.setenv("CROCBOT_TELEGRAM_API_URL", "http://127.0.0.1:1")
    code, text = run(arguments, capsys)

    assert code == 2
    assert "CROCBOT_STATE_DIR: cannot read /xxx" in text
    assert "bug" not in text


def test_inbox(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`inbox` shows failed rows, `inbox retry` reopens them, without a token."""
    monkeypatch.setenv("CROCBOT_STATE_DIR", str(tmp_path))
    code, text = run(["inbox"], capsys)
    assert (code, text) == (
        2,
        f"crocbot: CROCBOT_STATE_DIR: there is no inbox in {tmp_path}\n",
    )
    with store.opened(tmp_path / "crocbot.sqlite3", [inbox.SCHEMA]) as connection:
        sql.accept(connection, [{"update_id": 5}, {"update_id": 6}], time.time())
        failed = Outcome(Disposition.FAILED, update_ids=(5, 6), reason="blocked")
        sql.close_rows(connection, [failed], time.time(), 0.0)

    code, text = run(["inbox"], capsys)
    assert code == 0
    assert text.startswith("open: 0\naccepted 2 = answered 0 + failed 2 + ")
    # Its age is that of a row on a machine that may be busy.
    assert re.search(r"^  update 5, \d+ s ago: blocked$", text, re.MULTILINE)
    assert run(["inbox", "retry", "5"], capsys) == (0, "reopened: 1\n")
    code, text = run(["inbox", "retry", "5"], capsys)
    assert code == 2
    assert "not all of these updates have failed" in text
    assert run(["inbox", "retry"], capsys) == (0, "reopened: 1\n")
    _, text = run(["inbox"], capsys)
    assert re.match(r"open: 2, the oldest for \d+ s\n", text)


def test_inbox_retry_on_postgresql(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    database_url: str,
) -> None:
    """The chat of the row is noted, so that a replica claims or loads it."""
    monkeypatch.setenv("CROCBOT_DATABASE_URL", database_url)
    url = DatabaseUrl.parse(database_url)
    store.upgrade(url)
    with store.opened_postgresql(url) as connection:
        arrival = Arrival({"update_id": 5}, 7, claims=True)
        found = postgresql.accept(connection, [arrival], "a")
        assert found is not None
        failed = Outcome(Disposition.FAILED, reason="blocked")
        key = (7, found.chats[0].epoch)
        closing = Closing(update_id=5, key=key, outcome=failed)
        assert postgresql.close_rows(connection, [closing]) == {5: True}
        assert leases_sql.release(connection, [key], [1])[0].gone

    assert run(["inbox", "retry"], capsys) == (0, "reopened: 1\n")

    with store.opened_postgresql(url) as connection:
        (claimed,) = leases_sql.claim(connection, "b", 10)
        loaded = postgresql.load(connection, [(7, claimed.epoch)], [0], [10])
    assert [each.row.update_id for each in loaded.rows] == [5]


# Real processes, against the sandbox.


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Return a running sandbox."""
    async with Server() as running:
        yield running


@pytest.fixture
def shared_directory(tmp_path: Path) -> Path:
    """Return a directory that every user may enter."""
    tmp_path.chmod(0o755)
    return tmp_path


async def start(
    server: Server, command: str, folder: Path, token: str = "", **settings: str
) -> asyncio.subprocess.Process:
    """Start a command with the sandbox as Telegram."""
    environment = (
        os.environ
        | {
            "TELEGRAM_BOT_TOKEN": token or server.token,
            "CROCBOT_TELEGRAM_API_URL": server.url,
            "CROCBOT_STATE_DIR": str(folder),
            "CROCBOT_HEALTH_ADDRESS": "off",
            "CROCBOT_STATSD_HOST": "off",
            "CROCBOT_ALLOW_FROM": "7",
        }
        | settings
    )
    pipe = asyncio.subprocess.PIPE
    arguments = [sys.executable, "-m", "crocbot", command]
    return await asyncio.create_subprocess_exec(
        *arguments, env=environment, stdout=pipe, stderr=pipe
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    """Wait for the end; return exit code, output and errors."""
    out, err = await process.communicate()
    return process.returncode, out.decode(), (err or b"").decode()


async def test_check(server: Server, tmp_path: Path) -> None:
    """`check` prints a line for each thing that works, and changes nothing."""
    code, out, err = await ended(await start(server, "check", tmp_path / "s"))
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "ok: settings: access allowlist, 1 listed, 0 groups",
        f"ok: database: {tmp_path}/s/crocbot.sqlite3 will be created",
        "ok: telegram: @sandbox_croc_bot is the bot of this token",
        "ok: agent: echo answers the same text",
        "ok: metrics: off: CROCBOT_STATSD_HOST is off, so none are sent",
    ]
    assert not (tmp_path / "s").exists()
    with store.opened(tmp_path / "s/crocbot.sqlite3", [pairing.SCHEMA]):
        # It may also be relative.
        checked = await start(server, "check", Path("s"))
    code, out, err = await ended(checked)
    assert (code, err) == (0, "")
    assert f"ok: database: {tmp_path}/s/crocbot.sqlite3 is valid\n" in out


async def test_check_of_a_webhook(server: Server, tmp_path: Path) -> None:
    """`check` warns that a start takes a webhook of another program away."""
    async with Client(server.token, server.url) as client:
        await client.set_webhook("https://other.example.org/secret-path", "secret")
    code, out, err = await ended(await start(server, "check", tmp_path / "s"))

    assert (code, err) == (0, "")
    assert "secret" not in out
    assert (
        "warning: telegram: a webhook is set for this bot, at other.example.org: a"
        " start of the gateway deletes it, and the program there gets no more messages"
    ) in out.splitlines()


async def test_check_of_transcriptions(server: Server, tmp_path: Path) -> None:
    """`check` sends silence to the server of transcriptions, and names what it says."""
    async with TranscriptionServer("key") as transcriptions:
        for key, code in (("key", 0), ("other", 2)):
            settings = {
                "CROCBOT_TRANSCRIBE_URL": transcriptions.url,
                "CROCBOT_TRANSCRIBE_API_KEY": key,
            }
            checked = await start(server, "check", tmp_path / "s", **settings)
            ended_with, out, err = await ended(checked)
            line = f"{transcriptions.url}/audio/transcriptions transcribes"
            refused = "crocbot: transcription: the transcription server answered 401"
            assert ended_with == code
            assert (line if code == 0 else refused) in out + err


async def test_check_after_an_error(server: Server, tmp_path: Path) -> None:
    """`check` goes on after an error, prints a line for each, and exits with 2."""
    text_file = tmp_path / "crocbot.sqlite3"
    text_file.write_text("Dear aunt, this is no database at all. " * 20)
    process = await start(
        server,
        "check",
        tmp_path,
        token="1:wrong-secret",
        CROCBOT_AGENT="command",
        CROCBOT_AGENT_COMMAND="/nowhere/program",
    )
    code, out, err = await ended(process)
    assert code == 2
    assert out.splitlines() == [
        "ok: settings: access allowlist, 1 listed, 0 groups",
        "ok: metrics: off: CROCBOT_STATSD_HOST is off, so none are sent",
    ]
    database, telegram, agent = err.splitlines()
    assert database.startswith(f"crocbot: database: {text_file} cannot be used")
    assert telegram.startswith("crocbot: telegram: Telegram refused the token")
    assert agent == (
        "crocbot: agent: /nowhere/program is not a program that can be started"
    )
    assert text_file.read_text().startswith("Dear aunt")


@pytest.mark.parametrize(
    ("telegram", "agent", "expected"),
    [
        (
            "http://127.0.0.1:1",
            "echo",
            "crocbot: telegram: 127.0.0.1:1: ClientConnectorError: [Errno 111] Connect",
        ),
        (
            "https://no-such-host.invalid",
            "echo",
            "crocbot: telegram: no-such-host.invalid: ClientConnectorDNSError: ",
        ),
        ("", "http", "crocbot: agent: cannot connect to the agent: Cannot connect to"),
    ],
)
async def test_check_without_network(
    server: Server, tmp_path: Path, telegram: str, agent: str, expected: str
) -> None:
    """`check` names the host that it cannot reach, and exits with 1."""
    checked = await start(
        server,
        "check",
        tmp_path,
        CROCBOT_TELEGRAM_API_URL=telegram or server.url,
        CROCBOT_AGENT=agent,
        CROCBOT_AGENT_URL="http://127.0.0.1:1/",
    )
    code, _, err = await ended(checked)

    assert code == 1
    assert err.startswith(expected)
    assert err.count("\n") == 1


async def test_check_shows_no_secret(server: Server, tmp_path: Path) -> None:
    """`check` hides the key that the agent's server quotes, and warns of open files."""
    state, key = tmp_path / "state", "sk-key-that-must-stay-secret"
    state.mkdir()
    state.chmod(0o755)

    async def quote(request: web.Request) -> web.Response:
        error = {"error": {"message": f"no such key: {request.headers}"}}
        return web.json_response(error, status=401)

    async with serving({"GET /models": quote}) as place:
        checked = await start(
            server,
            "check",
            state,
            CROCBOT_AGENT="openai",
            CROCBOT_MODEL="m",
            OPENAI_BASE_URL=f"http://{place}",
            OPENAI_API_KEY=key,
        )
        code, out, err = await ended(checked)

    assert (code, err.count("Bearer [redacted]")) == (2, 1)
    assert key not in out + err
    warning = f"CROCBOT_STATE_DIR: other users may enter {state}, its mode is 755"
    assert f"warning: database: {warning}: chmod 700\n" in out


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "127.0.0.1:{port} refuses what is sent; see CROCBOT_STATSD_HOST"),
        ("localhost", "localhost:{port} refuses what is sent; see CROCBOT_STATSD_HOST"),
        ("no-such-host.invalid", "the host 'no-such-host.invalid' is unknown: "),
    ],
)
async def test_check_of_metrics(
    server: Server, tmp_path: Path, host: str, expected: str
) -> None:
    """A receiver that refuses, or is unknown, is a warning and no failure."""
    port = free_port()
    statsd = {"CROCBOT_STATSD_HOST": host, "CROCBOT_STATSD_PORT": str(port)}
    checked = await start(server, "check", tmp_path, **statsd)
    code, out, err = await ended(checked)

    assert (code, err) == (0, "")
    last = out.splitlines()[-1]
    assert last.startswith(f"warning: metrics: {expected.format(port=port)}")


async def test_check_of_metrics_that_are_not_refused(
    server: Server, tmp_path: Path
) -> None:
    """UDP confirms nothing: it is well when nothing refuses what is sent."""
    with socket.socket(type=socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        port = receiver.getsockname()[1]
        statsd = {
            "CROCBOT_STATSD_HOST": "localhost",
            "CROCBOT_STATSD_PORT": str(port),
        }
        code, out, err = await ended(await start(server, "check", tmp_path, **statsd))
        received = receiver.recv(100)

    assert (code, err, received) == (0, "", b"")
    assert out.splitlines()[-1] == (
        f"ok: metrics: nothing refused what was sent to localhost:{port};"
        " UDP confirms no receipt"
    )


async def test_check_warns(server: Server, tmp_path: Path) -> None:
    """`check` warns of a program for everyone, and of a token that all may read."""
    file = tmp_path / "token"
    file.write_text(server.token)
    file.chmod(0o644)
    checked = await start(
        server,
        "check",
        tmp_path,
        TELEGRAM_BOT_TOKEN="",
        TELEGRAM_BOT_TOKEN_FILE=str(file),
        CROCBOT_ACCESS="open",
        CROCBOT_AGENT="command",
        CROCBOT_AGENT_COMMAND="cat",
    )
    code, out, err = await ended(checked)

    assert (code, err) == (0, "")
    assert [line for line in out.splitlines() if line.startswith("warning: ")] == [
        "warning: settings: CROCBOT_ACCESS is open and CROCBOT_AGENT is command:"
        " everyone on Telegram can have CROCBOT_AGENT_COMMAND run on this machine",
        f"warning: settings: TELEGRAM_BOT_TOKEN_FILE: every user of this machine may"
        f" read {file}: chmod 600",
    ]


@pytest.mark.parametrize("program", ["/nowhere/program", "./missing.sh", "no-such-one"])
async def test_a_missing_program(
    server: Server, shared_directory: Path, program: str
) -> None:
    """A gateway whose agent program does not exist says only that and ends."""
    started = await start(
        server,
        "gateway",
        shared_directory,
        CROCBOT_AGENT="command",
        CROCBOT_AGENT_COMMAND=f"{program} --quiet",
    )
    code, out, err = await ended(started)

    assert (code, out) == (2, "")
    assert err == (
        f"crocbot: CROCBOT_AGENT_COMMAND: {program} is not a program that can be"
        " started\n"
    )


async def test_a_refused_token(server: Server, tmp_path: Path) -> None:
    """A refused token is one line without a traceback, and exit code 2."""
    process = await start(server, "gateway", tmp_path, token="1:wrong-secret")
    code, out, err = await ended(process)
    assert (code, out) == (2, "")
    assert err == (
        "crocbot: Telegram refused the token (Unauthorized):"
        " set TELEGRAM_BOT_TOKEN to the one that @BotFather shows\n"
    )


async def test_an_open_directory_without_telegram(
    server: Server, shared_directory: Path
) -> None:
    """The warning does not wait until Telegram is reached, and is logged once."""
    url = f"http://127.0.0.1:{free_port()}"
    process = await start(
        server, "gateway", shared_directory, CROCBOT_TELEGRAM_API_URL=url
    )
    assert process.stderr is not None
    lines: list[str] = []
    async with asyncio.timeout(60):
        while sum("cannot be reached yet" in line for line in lines) < 2:
            lines.append((await process.stderr.readline()).decode())
    process.send_signal(signal.SIGTERM)
    await ended(process)
    assert sum("other users may enter" in line for line in lines) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_gateway(
    server: Server, number: signal.Signals, shared_directory: Path
) -> None:
    """A gateway answers, locks its state directory, and stops on a signal."""
    answered = asyncio.Event()
    server.listen(lambda _: answered.set())
    process = await start(server, "gateway", shared_directory)
    server.send(Person(7, "Ada"), "hello")
    await answered.wait()
    second = await ended(await start(server, "gateway", shared_directory))
    assert second[::2] == (
        2,
        "crocbot: CROCBOT_STATE_DIR: another crocbot gateway works in"
        f" {shared_directory}; stop it or choose another directory\n",
    )
    process.send_signal(number)
    code, out, err = await ended(process)
    assert (code, out) == (0, "")
    assert err.splitlines()[-1].endswith("] stopped")
    assert f"other users may enter {shared_directory}, its mode is 755" in err
    assert "hello" not in err


async def test_check_of_an_unknown_model(server: Server, tmp_path: Path) -> None:
    """A model that its server does not list is a warning; no request is logged."""
    pytest.importorskip("openai", reason="the extra `openai` is not installed")

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "llama"}]})

    async with serving({"GET /v1/models": models}) as address:
        url = f"http://{address}/v1"
        checked = await start(
            server,
            "check",
            tmp_path,
            CROCBOT_AGENT="openai",
            CROCBOT_MODEL="gpt",
            OPENAI_BASE_URL=url,
        )
        code, out, err = await ended(checked)

    assert (code, err) == (0, "")
    assert f"warning: agent: {url} has 1 models, without 'gpt': CROCBOT_MODEL" in out


async def test_check_without_stderr(server: Server, tmp_path: Path) -> None:
    """A closed standard error, as in some supervisors, ends nothing."""
    environment = os.environ | {
        "TELEGRAM_BOT_TOKEN": server.token,
        "CROCBOT_TELEGRAM_API_URL": server.url,
        "CROCBOT_STATE_DIR": str(tmp_path),
    }
    command = f"exec {sys.executable} -m crocbot check 2>&-"
    process = await asyncio.create_subprocess_shell(
        command, env=environment, stdout=asyncio.subprocess.PIPE
    )
    code, out, _ = await ended(process)

    assert code == 0
    assert "ok: telegram: " in out
