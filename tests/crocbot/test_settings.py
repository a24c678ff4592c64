"""The environment to settings, and what the operator reads when it is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crocbot import settings
from crocbot.errors import OperatorError
from crocbot.settings import Settings

TOKEN = "123:a-SECRET_token"


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
    assert "SECRET" not in text
    return text


def test_defaults() -> None:
    """A token is all that must be set."""
    loaded = load({"HOME": "/home/ada"})

    assert loaded.token.get_secret_value() == TOKEN
    assert loaded.model_dump(exclude={"token"}) == {
        "token_file": None,
        "telegram_api_url": "https://api.telegram.org",
        "state_dir": Path("/home/ada/.local/state/crocbot"),
        "access": "allowlist",
        "allow_from": frozenset(),
        "agent": "echo",
        "statsd_host": "127.0.0.1",
        "statsd_port": 9125,
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
        ("CROCBOT_STATSD_HOST", "off", "statsd_host", "off"),
        ("CROCBOT_STATSD_PORT", "8125", "statsd_port", 8125),
        ("CROCBOT_LOG_LEVEL", "DEBUG", "log_level", "debug"),
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
        ("ACCESS", "pairing", "must be allowlist or open"),
        (
            "ALLOW_FROM",
            "@ada",
            "must be Telegram user ids with commas between them, as 123,456",
        ),
        ("AGENT", "openai", "must be echo"),
        ("STATSD_HOST", "a b", "must be a host, or off"),
        ("STATSD_PORT", "0", "must be a port, 1 to 65535"),
        ("STATSD_PORT", "65536", "must be a port, 1 to 65535"),
        ("STATSD_PORT", "http", "must be a port, 1 to 65535"),
        ("LOG_LEVEL", "loud", "must be debug, info, warning or error"),
        ("LOG_FORMAT", "xml", "must be console or json"),
        ("MAX_TURNS", "0", "must be 1 to 1000"),
        ("DRAIN_SECONDS", "-1", "must be seconds, 0 to 3600"),
        ("DRAIN_SECONDS", "nan", "must be seconds, 0 to 3600"),
    ],
)
def test_refusals(name: str, value: str, expected: str) -> None:
    """A bad value gives one line: the variable, what it is, what would be right."""
    environment = {"TELEGRAM_BOT_TOKEN": TOKEN, f"CROCBOT_{name}": value}
    shown = value.lower() if name.startswith(("ACCESS", "AGENT", "LOG")) else value

    assert refusal(environment) == f"CROCBOT_{name} is {shown!r}: {expected}"


@pytest.mark.parametrize(
    "token", ["SECRET", "a:SECRET", "1:", "'1:SECRET'", "1:SEC RET"]
)
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
        f"{variable}: cannot read {binary}: it is no text"
    )
    assert refusal({variable: "/x", "TELEGRAM_BOT_TOKEN": TOKEN}) == (
        f"TELEGRAM_BOT_TOKEN and {variable} are both set: keep one"
    )


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
    assert "SECRET" not in repr(load({}))
