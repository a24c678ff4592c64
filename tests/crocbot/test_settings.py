"""The environment to settings, and what the operator reads when it is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crocbot import settings
from crocbot.errors import OperatorError
from crocbot.model import HostPort
from crocbot.settings import Settings

TOKEN = "123:a-HUSHHUSH_token"


def load(environment: dict[str, str], env_file: Path | None = None) -> Settings:
    """Load from this environment, with a token if it has none."""
    loaded, warnings = settings.load(
        {"TELEGRAM_BOT_TOKEN": TOKEN} | environment, env_file
    )
    assert warnings == []
    return loaded


def refusal(environment: dict[str, str], env_file: Path | None = None) -> str:
    """What the operator reads."""
    with pytest.raises(OperatorError) as refused:
        settings.load(environment, env_file)
    text = str(refused.value)
    assert "\n" not in text
    assert "HUSH" not in text
    return text


def test_defaults() -> None:
    """A token is all that must be set."""
    loaded = load({"HOME": "/home/ada"})

    assert loaded.token.get_secret_value() == TOKEN
    assert loaded.model_dump(exclude={"token"}) == {
        "telegram_api_url": "https://api.telegram.org",
        "state_dir": Path("/home/ada/.local/state/crocbot"),
        "access": "allowlist",
        "allow_from": frozenset(),
        "groups": {},
        "operators": frozenset(),
        "agent": "echo",
        "agent_url": None,
        "agent_command": (),
        "openai_base_url": "https://api.openai.com/v1",
        "openai_api_key": None,
        "model": None,
        "system_prompt": None,
        "agent_secret": None,
        "agent_connect_seconds": 5.0,
        "agent_first_byte_seconds": 60.0,
        "agent_total_seconds": 600.0,
        "history_turns": 20,
        "history_chars": 20000,
        "media_max_bytes": 5242880,
        "gather_seconds": 1.5,
        "statsd_host": "127.0.0.1",
        "statsd_port": 9125,
        "health_address": {"host": "127.0.0.1", "port": 8787},
        "webhook_url": None,
        "webhook_listen": {"host": "127.0.0.1", "port": 8443},
        "webhook_secret": None,
        "log_level": "info",
        "log_format": "console",
        "max_turns": 64,
        "drain_seconds": 8.0,
    }


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        (
            "CROCBOT_TELEGRAM_API_URL",
            "http://[::1]:81/",
            "telegram_api_url",
            "http://[::1]:81",
        ),
        ("CROCBOT_STATE_DIR", "/var/lib/x", "state_dir", Path("/var/lib/x")),
        ("CROCBOT_ACCESS", " Open ", "access", "open"),
        ("CROCBOT_ALLOW_FROM", "7", "allow_from", {7}),
        ("CROCBOT_ALLOW_FROM", " 7, 8,,7 ", "allow_from", {7, 8}),
        ("CROCBOT_OPERATORS", "7", "operators", {7}),
        ("CROCBOT_GROUPS", "-100", "groups", {-100: "mention"}),
        (
            "CROCBOT_GROUPS",
            "-1:always, -2:Mention,-3",
            "groups",
            {-1: "always", -2: "mention", -3: "mention"},
        ),
        ("CROCBOT_ACCESS", "pairing", "access", "pairing"),
        ("CROCBOT_AGENT_URL", "http://h:1/a?b=c", "agent_url", "http://h:1/a?b=c"),
        (
            "CROCBOT_AGENT_COMMAND",
            "python3 -c 'print(1)'",
            "agent_command",
            ("python3", "-c", "print(1)"),
        ),
        (
            "OPENAI_BASE_URL",
            "http://[::1]:1/v1/",
            "openai_base_url",
            "http://[::1]:1/v1",
        ),
        ("CROCBOT_MODEL", "llama3.2", "model", "llama3.2"),
        ("CROCBOT_SYSTEM_PROMPT", "Be brief.", "system_prompt", "Be brief."),
        ("CROCBOT_MEDIA_MAX_BYTES", "0", "media_max_bytes", 0),
        ("CROCBOT_HEALTH_ADDRESS", "[::1]:80", "health_address", HostPort("::1", 80)),
        ("CROCBOT_HEALTH_ADDRESS", "off", "health_address", None),
        ("CROCBOT_WEBHOOK_URL", "https://h/x", "webhook_url", "https://h/x"),
        (
            "CROCBOT_WEBHOOK_LISTEN",
            "0.0.0.0:8443",
            "webhook_listen",
            HostPort("0.0.0.0", 8443),
        ),
        ("CROCBOT_STATSD_HOST", "off", "statsd_host", "off"),
        ("CROCBOT_STATSD_PORT", "8125", "statsd_port", 8125),
        ("CROCBOT_LOG_LEVEL", "DEBUG", "log_level", "debug"),
        ("CROCBOT_LOG_LEVEL", "Warning", "log_level", "warn"),
        ("CROCBOT_LOG_LEVEL", "warn", "log_level", "warn"),
        ("CROCBOT_LOG_FORMAT", "json", "log_format", "json"),
        ("CROCBOT_MAX_TURNS", "1", "max_turns", 1),
        ("CROCBOT_DRAIN_SECONDS", "0.5", "drain_seconds", 0.5),
        ("CROCBOT_STATSD_PORT", "", "statsd_port", 9125),
        ("CROCBOT_ALLOW_FROM", " ", "allow_from", frozenset()),
    ],
)
def test_values(name: str, value: str, field: str, expected: Any) -> None:
    """Each variable sets its field; an empty one counts as unset."""
    assert getattr(load({name: value}), field) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("TELEGRAM_API_URL", "api", "must be a URL, https://host or http://host:port"),
        (
            "TELEGRAM_API_URL",
            "ftp://x",
            "must be a URL, https://host or http://host:port",
        ),
        *(
            ("TELEGRAM_API_URL", url, "must be a URL, https://host or http://host:port")
            for url in ("http://h:65536", "http://h:abc", "http://[::1", "http://a..b")
        ),
        (
            "AGENT_URL",
            "http://h:1:2/",
            "must be a URL, https://host/path or http://host:port/path",
        ),
        ("WEBHOOK_URL", "https://h:70000/", "must be a URL, https://host/path"),
        ("WEBHOOK_LISTEN", "127.0.0.1:65536", "must be host:port"),
        ("STATE_DIR", "a\0b", "must be a directory"),
        ("ACCESS", "everybody", "must be allowlist, pairing or open"),
        (
            "GROUPS",
            "-100:sometimes",
            "must be group ids with commas between them, each with :mention"
            " or :always or nothing behind it, as -1001234,-1005678:always",
        ),
        (
            "GROUPS",
            "-100:",
            "must be group ids with commas between them, each with :mention"
            " or :always or nothing behind it, as -1001234,-1005678:always",
        ),
        (
            "AGENT_COMMAND",
            "'half",
            "must be a program and its arguments, quoted as in a shell",
        ),
        (
            "AGENT_URL",
            "localhost",
            "must be a URL, https://host/path or http://host:port/path",
        ),
        ("AGENT_TOTAL_SECONDS", "0", "must be seconds, 0.1 to 86400"),
        ("HISTORY_TURNS", "-1", "must be 0 to 1000"),
        ("MEDIA_MAX_BYTES", "5MB", "must be bytes, 0 to 20000000"),
        ("HEALTH_ADDRESS", "8787", "must be host:port, or off"),
        ("HEALTH_ADDRESS", "[::1]:65536", "must be host:port, or off"),
        (
            "ALLOW_FROM",
            "@ada",
            "must be Telegram user ids with commas between them, as 123,456",
        ),
        ("AGENT", "oracle", "must be echo, http, openai or command"),
        ("STATSD_HOST", "a b", "must be a host, or off"),
        ("STATSD_PORT", "0", "must be a port, 1 to 65535"),
        ("STATSD_PORT", "65536", "must be a port, 1 to 65535"),
        ("STATSD_PORT", "http", "must be a port, 1 to 65535"),
        ("LOG_LEVEL", "loud", "must be debug, info, warn or error"),
        ("LOG_FORMAT", "xml", "must be console or json"),
        ("MAX_TURNS", "0", "must be 1 to 1000"),
        ("DRAIN_SECONDS", "-1", "must be seconds, 0 to 3600"),
        ("DRAIN_SECONDS", "nan", "must be seconds, 0 to 3600"),
    ],
)
def test_refusals(name: str, value: str, expected: str) -> None:
    """A bad value gives one line: the variable, what it is, what would be right."""
    environment = {"TELEGRAM_BOT_TOKEN": TOKEN, f"CROCBOT_{name}": value}
    shown = value.lower() if name.startswith(("ACCESS", "LOG")) else value

    assert refusal(environment) == f"CROCBOT_{name} is {shown!r}: {expected}"


@pytest.mark.parametrize("token", ["HUSH", "a:HUSH", "1:", "'1:HUSH'", "1:HU SH"])
def test_bad_token(token: str) -> None:
    """A token of the wrong shape is refused without being shown."""
    assert refusal({"TELEGRAM_BOT_TOKEN": token}).startswith(
        "TELEGRAM_BOT_TOKEN is not a token: must be"
    )


@pytest.mark.parametrize("environment", [{}, {"TELEGRAM_BOT_TOKEN": ""}])
def test_no_token(environment: dict[str, str]) -> None:
    """Without a token the operator reads where to get one."""
    assert refusal(environment).startswith("TELEGRAM_BOT_TOKEN is not set: make a bot")


def test_token_file(tmp_path: Path) -> None:
    """A token may come from a file, with white space around it."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    loaded, _ = settings.load({"TELEGRAM_BOT_TOKEN_FILE": str(file)}, None)

    assert loaded.token.get_secret_value() == TOKEN


def test_token_file_faults(tmp_path: Path) -> None:
    """A missing or unreadable file, or both variables, is refused by name."""
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff")
    variable = "TELEGRAM_BOT_TOKEN_FILE"

    assert refusal({variable: "/nowhere"}) == (
        f"{variable}: cannot read /nowhere: No such file or directory"
    )
    assert refusal({variable: str(binary)}) == (
        f"{variable}: cannot read {binary}: it is not UTF-8"
    )
    assert refusal({variable: "/x", "TELEGRAM_BOT_TOKEN": TOKEN}) == (
        f"TELEGRAM_BOT_TOKEN and {variable} are both set: keep one"
    )


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("OPENAI_API_KEY", "openai_api_key"),
        ("CROCBOT_AGENT_SECRET", "agent_secret"),
        ("CROCBOT_WEBHOOK_SECRET", "webhook_secret"),
    ],
)
def test_secrets_from_files(tmp_path: Path, name: str, field: str) -> None:
    """Every secret may come from a file, and none is shown."""
    file = tmp_path / "secret"
    file.write_text("a-HUSH-key\n")
    loaded = load({f"{name}_FILE": str(file)})

    assert getattr(loaded, field).get_secret_value() == "a-HUSH-key"
    assert "HUSH-key" not in repr(loaded)
    assert loaded.secrets == [TOKEN, "a-HUSH-key"]
    assert refusal({"TELEGRAM_BOT_TOKEN": TOKEN, f"{name}_FILE": "/nowhere"}) == (
        f"{name}_FILE: cannot read /nowhere: No such file or directory"
    )


def test_a_secret_that_is_not_right(tmp_path: Path) -> None:
    """A secret that cannot be used, or a file without one, is refused unseen."""
    file = tmp_path / "empty"
    file.write_text("\n")

    assert refusal(
        {"TELEGRAM_BOT_TOKEN": TOKEN, "CROCBOT_WEBHOOK_SECRET": "a HUSH"}
    ) == (
        "CROCBOT_WEBHOOK_SECRET is not right:"
        " must be 1 to 256 of A-Z, a-z, 0-9, _ and -"
    )
    assert (
        refusal({"TELEGRAM_BOT_TOKEN": TOKEN, "OPENAI_API_KEY": "“HUSH”"})
        == "OPENAI_API_KEY is not right: must be the key of the server"
    )
    assert (
        refusal({"TELEGRAM_BOT_TOKEN": TOKEN, "CROCBOT_AGENT_SECRET_FILE": str(file)})
        == f"CROCBOT_AGENT_SECRET_FILE: {file} is empty"
    )


@pytest.mark.parametrize(
    ("agent", "needs"),
    [("http", "AGENT_URL"), ("openai", "MODEL"), ("command", "AGENT_COMMAND")],
)
def test_what_an_agent_needs(agent: str, needs: str) -> None:
    """An agent that cannot work for want of a setting is refused, with its name."""
    environment = {"TELEGRAM_BOT_TOKEN": TOKEN, "CROCBOT_AGENT": agent}

    assert (
        refusal(environment) == f"CROCBOT_AGENT is {agent!r}: it needs CROCBOT_{needs}"
    )


def config(tmp_path: Path, text: str) -> dict[str, str]:
    """A TOML file, and the variable that names it."""
    file = tmp_path / "crocbot.toml"
    file.write_text(text)
    return {"CROCBOT_CONFIG": str(file)}


def test_toml(tmp_path: Path) -> None:
    """A TOML file has the same names in lower case; the environment wins."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    environment = config(
        tmp_path,
        f"telegram_bot_token_file = '{token}'\nallow_from = [7, 8]\n"
        "groups = ['-100:always', -200]\naccess = 'open'\nmax_turns = 3\n"
        "agent_command = ['cat', '-n']\nopenai_base_url = 'http://x/v1'\n",
    )
    loaded, warnings = settings.load(environment | {"CROCBOT_MAX_TURNS": "4"}, None)

    assert warnings == []
    assert loaded.token.get_secret_value() == TOKEN
    assert loaded.allow_from == {7, 8}
    assert loaded.groups == {-100: "always", -200: "mention"}
    assert (loaded.access, loaded.max_turns) == ("open", 4)
    assert loaded.agent_command == ("cat", "-n")
    assert loaded.openai_base_url == "http://x/v1"
    assert load(environment).token.get_secret_value() == TOKEN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alow_from = 7", "'alow_from' is no setting of crocbot; did you mean allow_f"),
        ("[crocbot]\nagent='echo'", "'crocbot' is no setting of crocbot"),
        ("statsd_port = 99999", "statsd_port is 99999: must be a port, 1 to 65535"),
        ("allow_from = ['ada']", "allow_from is 'ada': must be Telegram user ids"),
        ("log_level = true", "log_level is True: must be debug, info, warn or error"),
        ("access = ", "is not TOML"),
    ],
)
def test_a_bad_toml_file(tmp_path: Path, text: str, expected: str) -> None:
    """A mistake in the TOML file is told with the file and the key."""
    line = refusal({"TELEGRAM_BOT_TOKEN": TOKEN} | config(tmp_path, text))

    assert line.startswith(str(tmp_path / "crocbot.toml"))
    assert expected in line


def test_a_toml_file_that_is_not_there() -> None:
    """A file that was asked for must be there."""
    line = refusal({"TELEGRAM_BOT_TOKEN": TOKEN, "CROCBOT_CONFIG": "/nowhere.toml"})

    assert (
        line == "CROCBOT_CONFIG: cannot read /nowhere.toml: No such file or directory"
    )


def test_what_a_program_inherits() -> None:
    """A program that answers sees nothing of the environment that may be secret."""
    environment = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "AWS_SECRET": "x",
        "OPENAI_API_KEY": "y",
    }

    assert load(environment).inherited == {"PATH": "/bin", "LC_ALL": "C"}


def test_one_setting(tmp_path: Path) -> None:
    """A command that needs no token reads one setting, as the gateway reads it."""
    environment = config(tmp_path, "state_dir = '/s'\nhealth_address = 'off'")
    file = tmp_path / ".env"
    file.write_text("CROCBOT_STATE_DIR=~/x\nCROCBOT_MAX_TURNS=nonsense\n")

    for env, env_file, expected in (
        (environment, None, Path("/s/crocbot.sqlite3")),
        ({"HOME": "/h"}, None, Path("/h/.local/state/crocbot/crocbot.sqlite3")),
        ({}, file, Path.home() / "x/crocbot.sqlite3"),
    ):
        loaded = settings.load_only(env, settings.STATE_DIR, env_file)
        assert loaded.database == expected
    loaded = settings.load_only(environment, settings.HEALTH_ADDRESS, None)
    assert loaded.health_address is None
    assert load(environment).database == Path("/s/crocbot.sqlite3")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CROCBOT_STATE_DIR", " is '~no-such-user/x': must be a directory"),
        (
            "CROCBOT_CONFIG",
            ": cannot read ~no-such-user/x: there is no such home directory",
        ),
        (
            "TELEGRAM_BOT_TOKEN_FILE",
            ": cannot read ~no-such-user/x: there is no such home directory",
        ),
    ],
)
def test_an_unknown_home_directory(name: str, expected: str) -> None:
    """A path in the home directory of an unknown user is refused, in one line."""
    token = {} if "TOKEN" in name else {"TELEGRAM_BOT_TOKEN": TOKEN}

    assert refusal({name: "~no-such-user/x", **token}) == name + expected


def test_env_file(tmp_path: Path) -> None:
    """The file .env is read; the environment wins, unless it is empty there."""
    file = tmp_path / ".env"
    file.write_text(
        f"TELEGRAM_BOT_TOKEN={TOKEN}\nCROCBOT_MAX_TURNS=2\n"
        "export CROCBOT_ACCESS='open'\nCROCBOT_STATSD_PORT=1\nCROCBOT_STATSD_HOST=\n"
    )
    loaded, _ = settings.load({"CROCBOT_STATSD_PORT": "2", "CROCBOT_ACCESS": ""}, file)

    assert loaded.token.get_secret_value() == TOKEN
    assert (loaded.max_turns, loaded.access) == (2, "open")
    assert (loaded.statsd_port, loaded.statsd_host) == (2, "127.0.0.1")


def test_env_file_that_is_no_text(tmp_path: Path) -> None:
    """A file .env that cannot be read is refused, not skipped."""
    file = tmp_path / ".env"
    file.write_bytes(b"\xff\xfe")

    assert refusal({"TELEGRAM_BOT_TOKEN": TOKEN}, file).startswith(f"{file} cannot be")


def test_only_the_given_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's own environment changes nothing."""
    monkeypatch.setenv("CROCBOT_STATSD_PORT", "nonsense")
    monkeypatch.setenv("CROCBOT_MAX_TURNS", "3")

    assert load({}).max_turns == 64


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"XDG_STATE_HOME": "/x"}, "/x/crocbot"),
        ({"XDG_STATE_HOME": "x", "HOME": "/h"}, "/h/.local/state/crocbot"),
        ({"XDG_STATE_HOME": "", "HOME": "/h"}, "/h/.local/state/crocbot"),
        ({"CROCBOT_STATE_DIR": "/s", "XDG_STATE_HOME": "/x"}, "/s"),
    ],
)
def test_state_dir(environment: dict[str, str], expected: str) -> None:
    """The state directory follows the XDG rules unless it is set."""
    assert load(environment).state_dir == Path(expected)


def test_unknown_names(tmp_path: Path) -> None:
    """A CROCBOT_ variable that nobody reads is warned of, with the nearest name."""
    file = tmp_path / ".env"
    file.write_text("CROCBOT_STATE_DIRECTORY=/x\nOTHER=1\n")
    environment = {
        "CROCBOT_ALOW_FROM": "7",
        "CROCBOT_QQQ": "",
        "CROCBOT_BOT_TOKEN": "x",
    }
    _, warnings = settings.load({"TELEGRAM_BOT_TOKEN": TOKEN} | environment, file)

    assert warnings == [
        "'CROCBOT_ALOW_FROM' is no setting of crocbot;"
        " did you mean CROCBOT_ALLOW_FROM?",
        "'CROCBOT_BOT_TOKEN' is no setting of crocbot;"
        " did you mean TELEGRAM_BOT_TOKEN?",
        "'CROCBOT_QQQ' is no setting of crocbot",
        "'CROCBOT_STATE_DIRECTORY' is no setting of crocbot;"
        " did you mean CROCBOT_STATE_DIR?",
    ]


def test_the_token_is_not_shown() -> None:
    """Settings can be printed."""
    assert "HUSH" not in repr(load({}))
