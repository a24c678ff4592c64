"""Settings from environment, .env and TOML, and the errors that operators read."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from crocbot import settings
from crocbot.errors import OperatorError
from crocbot.model import HostPort
from crocbot.settings import Settings, fields, files

TOKEN = "123:a-HUSHHUSH_token"
URL = "must be a URL, https://host or http://host:port"
AGENT_URL = "must be a URL, https://host/path or http://host:port/path"
GROUPS = (
    "must be group ids separated by commas, each of them optionally followed by"
    " :mention or :always, like -1001234,-1005678:always"
)
MODES = {-1: "always", -2: "mention", -3: "mention"}
REACTION = "must be an emoji that Telegram has as a reaction, like 👀 or 👍"
HOSTS = (
    "must be names of hosts separated by commas, each with an optional port, like"
    " files.example.org,*.example.org"
)
PORT = "must be a port, 1 to 65535"
NO_HOME = "cannot read ~no-such-user/x: there is no such home directory"


def load(environment: dict[str, str], env_file: Path | None = None) -> Settings:
    """Return the settings of this environment, with a token if it has none."""
    loaded, warnings = settings.load(
        {"TELEGRAM_BOT_TOKEN": TOKEN} | environment, env_file
    )
    assert warnings == []
    return loaded


def error(environment: dict[str, str], env_file: Path | None = None) -> str:
    """Return the error of this environment, with a token if it has none."""
    if "TELEGRAM_BOT_TOKEN_FILE" not in environment:
        environment = {"TELEGRAM_BOT_TOKEN": TOKEN} | environment
    with pytest.raises(OperatorError) as caught:
        settings.load(environment, env_file)
    text = str(caught.value)
    assert "\n" not in text
    assert "HUSH" not in text
    return text


EXTRA_RULE = (
    'must be a JSON object without model and messages, like {"temperature": 0.2}'
)


def test_defaults() -> None:
    """Only a token must be set; by default no one has access."""
    loaded = load({"HOME": "/home/ada"})

    assert loaded.token.get_secret_value() == TOKEN
    assert loaded.state_dir == Path("/home/ada/.local/state/crocbot")
    assert (loaded.access, loaded.agent) == ("allowlist", "echo")
    assert {*loaded.allow_from, *loaded.groups, *loaded.operators} == set()


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("TELEGRAM_API_URL", "http://[::1]:81/", "telegram_api_url", "http://[::1]:81"),
        ("STATE_DIR", "/var/lib/x", "state_dir", Path("/var/lib/x")),
        ("STATE_DIR", "state", "state_dir", Path.cwd() / "state"),
        ("ACCESS", " Open ", "access", "open"),
        ("ACCESS", "pairing", "access", "pairing"),
        ("ALLOW_FROM", "7", "allow_from", {7}),
        ("ALLOW_FROM", " 7, 8,,7 ", "allow_from", {7, 8}),
        ("ALLOW_FROM", " ", "allow_from", frozenset()),
        ("OPERATORS", "7", "operators", {7}),
        ("GROUPS", "-1:always, -2:Mention,-3", "groups", MODES),
        ("AGENT_URL", "http://h:1/a?b=c", "agent_url", "http://h:1/a?b=c"),
        ("AGENT_COMMAND", "sh -c 'echo 1'", "agent_command", ("sh", "-c", "echo 1")),
        ("MODEL", "llama3.2", "model", "llama3.2"),
        ("SYSTEM_PROMPT", "Be brief.", "system_prompt", "Be brief."),
        ("MODEL_EXTRA", '{"stream": false}', "request_fields", {"stream": False}),
        ("MODEL_EXTRA", "", "request_fields", {}),
        ("KEEP_THINKING", " True", "keep_thinking", True),
        ("KEEP_THINKING", "", "keep_thinking", False),
        ("MEDIA_MAX_BYTES", "0", "media_max_bytes", 0),
        ("HEALTH_ADDRESS", "[::1]:80", "health_address", HostPort("::1", 80)),
        ("HEALTH_ADDRESS", "off", "health_address", None),
        ("WEBHOOK_URL", "https://h/x", "webhook_url", "https://h/x"),
        ("WEBHOOK_LISTEN", "h:8443", "webhook_listen", HostPort("h", 8443)),
        ("STATSD_HOST", "off", "statsd_host", "off"),
        ("STATSD_PORT", "8125", "statsd_port", 8125),
        ("STATSD_PORT", "", "statsd_port", 9125),
        ("LOG_LEVEL", "DEBUG", "log_level", "debug"),
        ("LOG_LEVEL", "Warning", "log_level", "warn"),
        ("LOG_LEVEL", "warn", "log_level", "warn"),
        ("LOG_FORMAT", "json", "log_format", "json"),
        ("MAX_TURNS", "1", "max_turns", 1),
        ("DRAIN_SECONDS", "0.5", "drain_seconds", 0.5),
    ],
)
def test_values(name: str, value: str, field: str, expected: Any) -> None:
    """Each variable sets its field; an empty one counts as unset."""
    assert getattr(load({f"CROCBOT_{name}": value}), field) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("TELEGRAM_API_URL", "api", URL),
        ("TELEGRAM_API_URL", "ftp://x", URL),
        ("TELEGRAM_API_URL", "http://h:65536", URL),
        ("TELEGRAM_API_URL", "http://h:abc", URL),
        ("TELEGRAM_API_URL", "http://[::1", URL),
        ("TELEGRAM_API_URL", "http://a..b", URL),
        ("AGENT_URL", "http://h:1:2/", AGENT_URL),
        ("AGENT_URL", "localhost", AGENT_URL),
        ("WEBHOOK_URL", "https://h:70000/", "must be a URL, https://host/path"),
        ("WEBHOOK_LISTEN", "127.0.0.1:65536", "must be host:port"),
        ("STATE_DIR", "a\0b", "must be a directory"),
        ("STATE_DIR", "~no-such-user/x", "must be a directory"),
        ("ACCESS", "everybody", "must be allowlist, pairing or open"),
        ("GROUPS", "-100:sometimes", GROUPS),
        ("GROUPS", "-100:", GROUPS),
        (
            "AGENT_COMMAND",
            "'half",
            "must be a program and its arguments, quoted as in a shell",
        ),
        ("AGENT_TOTAL_SECONDS", "0", "must be seconds, 0.1 to 86400"),
        ("HISTORY_TURNS", "-1", "must be 0 to 1000"),
        ("MEDIA_MAX_BYTES", "5MB", "must be bytes, 0 to 20000000"),
        ("HEALTH_ADDRESS", "8787", "must be host:port, or off"),
        ("HEALTH_ADDRESS", "[::1]:65536", "must be host:port, or off"),
        (
            "ALLOW_FROM",
            "@ada",
            "must be Telegram user ids separated by commas, like 123,456",
        ),
        ("AGENT", "oracle", "must be echo, http, openai, command or python"),
        ("STATSD_HOST", "a b", "must be a host, or off"),
        ("STATSD_PORT", "0", PORT),
        ("STATSD_PORT", "65536", PORT),
        ("STATSD_PORT", "http", PORT),
        ("LOG_LEVEL", "loud", "must be debug, info, warn or error"),
        ("LOG_FORMAT", "xml", "must be console or json"),
        ("MAX_TURNS", "0", "must be 1 to 1000"),
        ("MODEL_EXTRA", "temperature=1", EXTRA_RULE),
        ("MODEL_EXTRA", "[1]", EXTRA_RULE),
        ("MODEL_EXTRA", '{"a": NaN}', EXTRA_RULE),
        ("MODEL_EXTRA", '{"model": 1}', f"{EXTRA_RULE}; the gateway sets model"),
        ("KEEP_THINKING", "perhaps", "must be true or false"),
        ("EDITS", "maybe", "must be ignore or answer"),
        ("RICH", "maybe", "must be on or off"),
        ("ACKNOWLEDGE", "🦖", REACTION),
        ("ACKNOWLEDGE", "👀👀", REACTION),
        ("FETCH_HOSTS", "*", HOSTS),
        ("FETCH_HOSTS", "a.b,[::1]", HOSTS),
        ("FETCH_HOSTS", "a.b:0", f"{HOSTS}; 0 is not a port, 1 to 65535"),
        ("FETCH_HOSTS", "a.b:99999", f"{HOSTS}; 99999 is not a port, 1 to 65535"),
        ("FILES_MAX_BYTES", "50000001", "must be bytes, 0 to 50000000"),
        ("DRAIN_SECONDS", "-1", "must be seconds, 0 to 3600"),
        ("DRAIN_SECONDS", "nan", "must be seconds, 0 to 3600"),
    ],
)
def test_wrong_values(name: str, value: str, expected: str) -> None:
    """A wrong value is one line: the variable, its value, and what would be right."""
    line = error({f"CROCBOT_{name}": value})

    assert line == f"CROCBOT_{name} is {value!r}: {expected}"


IDS = "must be Telegram user ids separated by commas, like 123,456"
BLANK, QUOTED = "it begins or ends with a blank", "it has quotation marks around it"
TOKEN_RULE = "must be a bot token as @BotFather shows it, 123456:ABC..."
NO_PORT = "without scheme and port; the port is CROCBOT_STATSD_PORT"


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("ALLOW_FROM", "-1001234", "-1001234 is a group's id: see CROCBOT_GROUPS"),
        ("OPERATORS", "7, -5", "-5 is a group's id: see CROCBOT_GROUPS"),
        ("ALLOW_FROM", "0", "Telegram has no id 0"),
        ("ALLOW_FROM", "99999999999999999999", "Telegram has no id 9999999999999999"),
        ("GROUPS", "77", "77 is a user's id, which belongs in CROCBOT_ALLOW_FROM;"),
        ("GROUPS", "77:always", "77 is a user's id"),
        ("GROUPS", "-5:always,-5:mention", "a group is named twice"),
        ("TELEGRAM_API_URL", "http://api.telegram.org", "Telegram's own server needs"),
        ("TELEGRAM_API_URL", "https://h/bot", "without /bot and the token"),
        ("STATSD_HOST", "127.0.0.1:9125", NO_PORT),
        ("STATSD_HOST", "udp://bridge", NO_PORT),
        ("STATSD_HOST", "[::1]", NO_PORT),
        ("STATE_DIR", "/var/lib/crocbot ", BLANK),
        ("STATE_DIR", "'/var/lib/crocbot'", QUOTED),
        ("MODEL", "llama ", BLANK),
        ("MODEL", '"llama"', QUOTED),
    ],
)
def test_hints(name: str, value: str, hint: str) -> None:
    """A mistake that is known by its look is named after the rule."""
    line = error({f"CROCBOT_{name}": value})

    assert line.startswith(f"CROCBOT_{name} is {value!r}: must be ")
    assert f"; {hint}" in line


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("1:HUSH ", BLANK),
        ("\t1:HUSH", BLANK),
        ("'1:HUSH'", QUOTED),
        ('"1:HUSH"', QUOTED),
        ("1:HU SH", "it has a blank in it"),
        ("1:HUSH\n2:HUSH", "it has more than one line"),
        ("bot1:HUSH", "it begins with bot, as in a URL"),
        ("/run/secrets/HUSH", "it is a path: TELEGRAM_BOT_TOKEN_FILE takes one"),
        ("HUSH", "it has no colon"),
        ("1:HUSH\u200b", "it has a character that no token has"),
    ],
)
def test_hints_about_a_token(value: str, hint: str) -> None:
    """What is wrong with a token is said without the token."""
    line = error({"TELEGRAM_BOT_TOKEN": value})

    assert line == f"TELEGRAM_BOT_TOKEN is not a token: {TOKEN_RULE}; {hint}"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {"OPENAI_API_KEY": "HUSH "},
            f"OPENAI_API_KEY is not valid: must be the key of the server; {BLANK}",
        ),
        ({"CROCBOT_AGENT_SECRET": "HUSH\n"}, BLANK),
        ({"CROCBOT_WEBHOOK_SECRET": "'HUSH'"}, QUOTED),
        (
            {"CROCBOT_TELEGRAM_API_URL": "https://h/bot123456:HUSHHUSHHUSH"},
            "CROCBOT_TELEGRAM_API_URL is not valid: must be a URL, https://host",
        ),
        (
            {"OPENAI_BASE_URL": "https://h/v1/chat/completions"},
            "without /chat/completions, which the gateway adds",
        ),
        (
            {"TELEGRAM_BOT_TOKEN_FILE": "123456:HUSHHUSHHUSH"},
            "TELEGRAM_BOT_TOKEN_FILE names no file: it must be the path of a file;"
            " the secret itself belongs in TELEGRAM_BOT_TOKEN",
        ),
        ({"OPENAI_API_KEY_FILE": "sk-HUSH"}, "OPENAI_API_KEY_FILE names no file"),
        (
            {"OPENAI_API_KEY_FILE": "/dev/zero"},
            "cannot read /dev/zero: it has more than 1048576 bytes",
        ),
        (
            {"TELEGRAM_BOT_TOKEN": "", "BOT_KEY": f"1234567:{'HUSH' * 9}"},
            "or TELEGRAM_BOT_TOKEN_FILE to a file with the token; BOT_KEY contains one",
        ),
        (
            {"CROCBOT_WEBHOOK_URL": "http://example.org/x"},
            "CROCBOT_WEBHOOK_URL begins with http://: it must be https://",
        ),
        (
            {"CROCBOT_WEBHOOK_URL": "https://example.org:9443/x"},
            "CROCBOT_WEBHOOK_URL has the port 9443: Telegram calls only the ports 443,",
        ),
        (
            {"CROCBOT_WEBHOOK_URL": "https://localhost/x"},
            "CROCBOT_WEBHOOK_URL has the host 'localhost': Telegram can call only a",
        ),
        (
            {"CROCBOT_WEBHOOK_URL": "https://192.168.1.5/x"},
            "CROCBOT_WEBHOOK_URL has the host '192.168.1.5': Telegram can call only",
        ),
        (
            {
                "CROCBOT_WEBHOOK_URL": "https://example.org/x",
                "CROCBOT_WEBHOOK_LISTEN": "127.0.0.1:8787",
            },
            "CROCBOT_WEBHOOK_LISTEN and CROCBOT_HEALTH_ADDRESS are both '127.0.0.1:87",
        ),
        (
            {"CROCBOT_FALLBACK_AGENT": "http"},
            "CROCBOT_FALLBACK_AGENT is 'http': it needs CROCBOT_FALLBACK_URL",
        ),
        (
            {"CROCBOT_FALLBACK_AGENT": "openai", "OPENAI_API_KEY": "sk-HUSH"},
            "CROCBOT_FALLBACK_AGENT is 'openai': it needs CROCBOT_FALLBACK_MODEL",
        ),
        (
            {"CROCBOT_FALLBACK_AGENT": "gpt"},
            "CROCBOT_FALLBACK_AGENT is 'gpt': must be echo, http, openai",
        ),
        (
            {"CROCBOT_LIMIT_PERSON_MINUTE": "-1"},
            "CROCBOT_LIMIT_PERSON_MINUTE is '-1': must be a number of messages, 0 to",
        ),
    ],
)
def test_mistakes(environment: dict[str, str], expected: str) -> None:
    """Each is one line that says what to change, and shows no secret."""
    assert expected in error(environment)


def test_a_webhook_of_an_own_server() -> None:
    """A Bot API server of one's own may call a local host without TLS, and any port."""
    own = {"CROCBOT_TELEGRAM_API_URL": "http://127.0.0.1:8081"}

    for url in ("http://127.0.0.1:9000/x", "http://gateway/x", "https://b.org:9/x"):
        assert load(own | {"CROCBOT_WEBHOOK_URL": url}).webhook_url == url
    public = {"CROCBOT_WEBHOOK_URL": "http://b.org/x"}
    assert "it must be https://" in error(own | public)


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a home directory, as in a container, CROCBOT_STATE_DIR must be set."""

    def no_user(_: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.setattr("pwd.getpwuid", no_user)
    monkeypatch.delenv("HOME")

    assert error({}) == (
        "CROCBOT_STATE_DIR is not set, and there is no home directory:"
        " set CROCBOT_STATE_DIR to a directory"
    )
    assert load({"CROCBOT_STATE_DIR": "/s"}).state_dir == Path("/s")
    assert load({"XDG_STATE_HOME": "/x"}).state_dir == Path("/x/crocbot")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {
                "CROCBOT_ACCESS": "open",
                "CROCBOT_AGENT": "command",
                "CROCBOT_AGENT_COMMAND": "cat",
            },
            "CROCBOT_ACCESS is open and CROCBOT_AGENT is command: everyone on Telegram"
            " can have CROCBOT_AGENT_COMMAND run on this machine",
        ),
        (
            {
                "CROCBOT_AGENT": "command",
                "CROCBOT_AGENT_COMMAND": "python3 -u ~/agent.py --no.x",
            },
            "CROCBOT_AGENT_COMMAND: there is no file '~/agent.py'",
        ),
        (
            {"CROCBOT_ALLOW_FROM": "123"},
            "123 is the id of the bot itself, not of a user",
        ),
        (
            {"CROCBOT_AGENT": "openai", "CROCBOT_MODEL": "m"},
            "OPENAI_API_KEY is not set, and api.openai.com needs a key",
        ),
        (
            {
                "CROCBOT_AGENT": "openai",
                "CROCBOT_MODEL": "m",
                "OPENAI_BASE_URL": "http://models.example.org/v1",
                "OPENAI_API_KEY": "key",
            },
            "OPENAI_BASE_URL begins with http://: the key passes over the network"
            " unencrypted",
        ),
        (
            {"CROCBOT_TELEGRAM_API_URL": "http://telegram.example.org"},
            "CROCBOT_TELEGRAM_API_URL begins with http://: the token passes over the"
            " network unencrypted",
        ),
        (
            {"CROCBOT_MODEL_EXTRA": '{"temperature": 1}'},
            "CROCBOT_MODEL_EXTRA has no effect: CROCBOT_AGENT is 'echo', not 'openai'",
        ),
        (
            {"CROCBOT_MODEL": "llama"},
            "CROCBOT_MODEL has no effect: CROCBOT_AGENT is 'echo', not 'openai'",
        ),
        (
            {"CROCBOT_FETCH_HOSTS": "files.example.org"},
            "CROCBOT_FETCH_HOSTS has no effect: CROCBOT_AGENT is 'echo', not 'http'"
            " or 'python'",
        ),
        (
            {"CROCBOT_FALLBACK_MODEL": "m"},
            "CROCBOT_FALLBACK_MODEL has no effect: CROCBOT_FALLBACK_AGENT is not set",
        ),
        (
            {"CROCBOT_FALLBACK_AGENT": "echo", "CROCBOT_FALLBACK_MODEL": "m"},
            "CROCBOT_FALLBACK_MODEL has no effect: CROCBOT_FALLBACK_AGENT is 'echo',"
            " not 'openai'",
        ),
        (
            {"CROCBOT_FALLBACK_AGENT": "openai", "CROCBOT_FALLBACK_MODEL": "m"},
            "CROCBOT_FALLBACK_API_KEY is not set, and api.openai.com needs a key",
        ),
        (
            {
                "CROCBOT_FALLBACK_AGENT": "command",
                "CROCBOT_FALLBACK_COMMAND": "python3 none.py",
            },
            "CROCBOT_FALLBACK_COMMAND: there is no file 'none.py'",
        ),
        (
            {
                "CROCBOT_FALLBACK_AGENT": "echo",
                "CROCBOT_AGENT_FIRST_BYTE_SECONDS": "600",
            },
            "CROCBOT_AGENT_FIRST_BYTE_SECONDS is not below"
            " CROCBOT_AGENT_TOTAL_SECONDS: no time is left for the fallback agent if"
            " the first one does not answer",
        ),
        (
            {"CROCBOT_ALLOW_FROM": "7", "CROCBOT_OPERATORS": "7,8"},
            "CROCBOT_OPERATORS has ids that CROCBOT_ALLOW_FROM lacks (8):"
            " they are not answered in private chats",
        ),
    ],
)
def test_advice(environment: dict[str, str], expected: str) -> None:
    """Settings that work but are probably mistakes give a warning."""
    assert settings.advice(load(environment)) == [expected]
    assert settings.advice(load({})) == []


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {"CROCBOT_TRANSCRIBE_API_KEY": "key"},
            "CROCBOT_TRANSCRIBE_API_KEY has no effect: CROCBOT_TRANSCRIBE_URL is not"
            " set",
        ),
        (
            {"CROCBOT_TRANSCRIBE_URL": "https://api.openai.com/v1"},
            "CROCBOT_TRANSCRIBE_API_KEY is not set, and api.openai.com needs a key",
        ),
        (
            {
                "CROCBOT_TRANSCRIBE_URL": "http://example.org/v1",
                "CROCBOT_TRANSCRIBE_API_KEY": "key",
            },
            "CROCBOT_TRANSCRIBE_URL begins with http://: the key passes over the"
            " network unencrypted",
        ),
        (
            {
                "CROCBOT_TRANSCRIBE_URL": "http://localhost/v1",
                "CROCBOT_MEDIA_MAX_BYTES": "0",
            },
            "CROCBOT_TRANSCRIBE_URL has no effect: CROCBOT_MEDIA_MAX_BYTES is 0, so no"
            " voice message is loaded",
        ),
    ],
)
def test_advice_about_transcriptions(
    environment: dict[str, str], expected: str
) -> None:
    """So do those of transcriptions."""
    assert settings.advice(load(environment)) == [expected]


def test_transcriptions(tmp_path: Path) -> None:
    """The key may come from a file, and is a secret, as is a password in the URL."""
    key = tmp_path / "key"
    key.write_text("sk-words\n")
    loaded = load(
        {
            "CROCBOT_TRANSCRIBE_URL": "http://me:pass-word@localhost/v1",
            "CROCBOT_TRANSCRIBE_API_KEY_FILE": str(key),
        }
    )
    assert loaded.transcribe_model == "whisper-1"
    assert {"sk-words", "pass-word"} <= set(loaded.secrets)


def test_advice_about_files(tmp_path: Path) -> None:
    """Each file with a secret that every user may read gives a warning."""
    env_file, key, toml = tmp_path / ".env", tmp_path / "key", tmp_path / "crocbot.toml"
    env_file.write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\n")
    key.write_text("secret")
    toml.write_text("agent_secret = 'secret'\n")
    environment = {"OPENAI_API_KEY_FILE": str(key), "CROCBOT_CONFIG": str(toml)}

    def warnings() -> list[str]:
        return settings.open_files(settings.load(environment, env_file)[0])

    for file in (env_file, key, toml):
        file.chmod(0o644)
    every = "every user of this machine may read"
    assert [line for line in warnings() if every in line] == [
        f"TELEGRAM_BOT_TOKEN: {every} {env_file}: chmod 600",
        f"CROCBOT_CONFIG: {every} {toml}: chmod 600",
        f"OPENAI_API_KEY_FILE: {every} {key}: chmod 600",
    ]
    for file in (env_file, key, toml):
        file.chmod(0o640)
    assert not [line for line in warnings() if every in line]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("statsd_port = true", "statsd_port is True: must be a port, 1 to 65535"),
        ("max_turns = '1_0'", "max_turns is '1_0': must be 1 to 1000"),
        (
            "CROCBOT_ACCESS = 'open'",
            "is not a setting of crocbot; did you mean access?",
        ),
        (f"model = {'[' * 5000}{']' * 5000}", "is not TOML: it is nested too deeply"),
        ("model = x", "CROCBOT_CONFIG: {file} is not TOML: Invalid value (at line 1, "),
        ("agent_command = ['', 'x']", "; the name of the program is empty"),
        ('agent_command = ["cat", "\\u0000"]', "; no argument can have a NUL char"),
        ("groups = [-7, 8]", "groups is '8': must be group ids"),
        ("allow_from = [7, -8]", "allow_from is -8: must be Telegram user ids"),
    ],
)
def test_mistakes_in_toml(tmp_path: Path, text: str, expected: str) -> None:
    """What is a number only for Python, a name in capitals, and the like, are named."""
    environment = config(tmp_path, text)
    file = environment["CROCBOT_CONFIG"]
    assert expected.replace("{file}", file) in error(environment)


def test_pipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe without a writer is an error, not a start that hangs."""
    monkeypatch.setattr(files, "READ_SECONDS", 0.1)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for name in ("CROCBOT_PRICES", "CROCBOT_CONFIG", "OPENAI_API_KEY_FILE"):
        assert error({name: str(pipe)}) == (
            f"{name}: cannot read {pipe}: nothing was written to it in 0.1 s"
        )
    monkeypatch.setattr(files, "READ_SECONDS", 30.0)
    writer = threading.Thread(target=pipe.write_text, args=("a-key",))
    writer.start()
    loaded = load({"OPENAI_API_KEY_FILE": str(pipe)})
    writer.join()
    assert loaded.openai_api_key.get_secret_value() == "a-key"


@pytest.mark.parametrize(
    ("address", "warned"),
    [
        ("0.0.0.0:8787", True),
        ("[::]:8787", True),
        ("192.168.1.5:8787", True),
        ("127.0.0.1:8787", False),
        ("[::1]:8787", False),
        ("localhost:8787", False),
    ],
)
def test_advice_about_the_page_that_sends(address: str, warned: bool) -> None:
    """Its secret should not pass over a network; without one there is no such page."""
    chosen = {"CROCBOT_HEALTH_ADDRESS": address}
    assert settings.advice(load(chosen)) == []
    warnings = settings.advice(load({**chosen, "CROCBOT_SEND_SECRET": "x" * 16}))
    text = (
        f"CROCBOT_HEALTH_ADDRESS is '{address}': other machines may reach the page of"
        " CROCBOT_SEND_SECRET, and the secret passes over the network unencrypted"
    )
    assert warnings == ([text] if warned else [])


def test_empty_texts_in_toml(tmp_path: Path) -> None:
    """An empty text counts as unset, like an empty variable."""
    loaded = load(config(tmp_path, "webhook_url = ''\ntelegram_bot_token = ' '"))

    assert loaded.webhook_url is None
    assert loaded.token.get_secret_value() == TOKEN


@pytest.mark.parametrize("line", ["TELEGRAM_BOT_TOKEN: 1:HUSH", "A='HUSH"])
def test_lines_of_env_that_are_none(
    tmp_path: Path, line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A line that cannot be read is a warning, and named if the token is missing."""
    file = tmp_path / ".env"
    file.write_text(f"CROCBOT_MAX_TURNS=3\n{line}\n")
    loaded, warnings = settings.load({"TELEGRAM_BOT_TOKEN": TOKEN}, file)

    assert warnings == [f"{file}: line 2 is not NAME=value"]
    assert loaded.max_turns == 3
    assert error({"TELEGRAM_BOT_TOKEN": ""}, file).endswith(f"; {warnings[0]}")
    assert capfd.readouterr() == ("", "")


def test_env_that_is_not_utf8(tmp_path: Path) -> None:
    """A file in another encoding is named."""
    file = tmp_path / ".env"
    file.write_bytes("CROCBOT_SYSTEM_PROMPT=x\n".encode("utf-16"))

    assert error({}, file) == f"{file} cannot be read: it is not UTF-8"


def test_byte_order_marks(tmp_path: Path) -> None:
    """Files that an editor of Windows wrote are read."""
    env_file, key, toml = tmp_path / ".env", tmp_path / "key", tmp_path / "crocbot.toml"
    env_file.write_bytes(f"\ufeffTELEGRAM_BOT_TOKEN={TOKEN}\r\n".encode())
    key.write_bytes("\ufeffsecret\r\n".encode())
    toml.write_bytes("\ufeffmax_turns = 3\r\n".encode())
    environment = {"OPENAI_API_KEY_FILE": str(key), "CROCBOT_CONFIG": str(toml)}
    loaded, _ = settings.load(environment, env_file)

    assert loaded.token.get_secret_value() == TOKEN
    assert loaded.openai_api_key is not None
    assert loaded.openai_api_key.get_secret_value() == "secret"
    assert loaded.max_turns == 3


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {"TELEGRAM_BOT_TOKEN": ""},
            "TELEGRAM_BOT_TOKEN is not set: make a bot with @BotFather, then run"
            " crocbot init, or set it to the token, or TELEGRAM_BOT_TOKEN_FILE",
        ),
        *(
            (
                {"TELEGRAM_BOT_TOKEN": token},
                "TELEGRAM_BOT_TOKEN is not a token: must be",
            )
            for token in ("HUSH", "a:HUSH", "1:", "'1:HUSH'", "1:HU SH")
        ),
        (
            {"CROCBOT_WEBHOOK_SECRET": "a HUSH"},
            "CROCBOT_WEBHOOK_SECRET is not valid: must be 1 to 256 of A-Z, a-z, 0-9, _",
        ),
        (
            {"CROCBOT_AGENT_URL": "http://u:HUSH@h/ x"},
            "CROCBOT_AGENT_URL is not valid: must be a URL, https://host/path",
        ),
        (
            {"OPENAI_API_KEY": "“HUSH”"},
            "OPENAI_API_KEY is not valid: must be the key of the server",
        ),
        (
            {"CROCBOT_AGENT": "http"},
            "CROCBOT_AGENT is 'http': it needs CROCBOT_AGENT_URL",
        ),
        (
            {"CROCBOT_AGENT": "openai"},
            "CROCBOT_AGENT is 'openai': it needs CROCBOT_MODEL",
        ),
        (
            {"CROCBOT_AGENT": "command"},
            "CROCBOT_AGENT is 'command': it needs CROCBOT_AGENT_COMMAND",
        ),
        (
            {"CROCBOT_CONFIG": "/nowhere.toml"},
            "CROCBOT_CONFIG: cannot read /nowhere.toml: No such file or directory",
        ),
        ({"CROCBOT_CONFIG": "~no-such-user/x"}, f"CROCBOT_CONFIG: {NO_HOME}"),
        (
            {"TELEGRAM_BOT_TOKEN_FILE": "~no-such-user/x"},
            f"TELEGRAM_BOT_TOKEN_FILE: {NO_HOME}",
        ),
        (
            {"TELEGRAM_BOT_TOKEN_FILE": "/x", "TELEGRAM_BOT_TOKEN": TOKEN},
            "TELEGRAM_BOT_TOKEN and TELEGRAM_BOT_TOKEN_FILE are both set: keep one",
        ),
    ],
)
def test_errors(environment: dict[str, str], expected: str) -> None:
    """A secret is not shown, a setting that is missing is named."""
    assert error(environment).startswith(expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "No such file or directory"), (b"\xff", "it is not UTF-8"), (b"\n", "")],
)
@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("TELEGRAM_BOT_TOKEN", "token"),
        ("OPENAI_API_KEY", "openai_api_key"),
        ("CROCBOT_AGENT_SECRET", "agent_secret"),
        ("CROCBOT_FALLBACK_API_KEY", "fallback_api_key"),
        ("CROCBOT_FALLBACK_SECRET", "fallback_secret"),
        ("CROCBOT_TRANSCRIBE_API_KEY", "transcribe_api_key"),
        ("CROCBOT_WEBHOOK_SECRET", "webhook_secret"),
    ],
)
def test_secrets_from_files(
    tmp_path: Path, name: str, field: str, content: bytes | None, expected: str
) -> None:
    """Every secret may come from a file; one without a secret is an error."""
    file, variable = tmp_path / "secret", f"{name}_FILE"
    file.write_text(f"{TOKEN}\n" if field == "token" else "a-HUSH-key\n")
    token = {} if field == "token" else {"TELEGRAM_BOT_TOKEN": TOKEN}
    loaded, _ = settings.load({variable: str(file)} | token, None)
    assert getattr(loaded, field).get_secret_value() == file.read_text().strip()
    assert "HUSH" not in repr(loaded)
    assert file.read_text().strip() in loaded.secrets

    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    reason = f"cannot read {file}: {expected}" if expected else f"{file} is empty"
    assert error({variable: str(file)}) == f"{variable}: {reason}"


@pytest.mark.parametrize("name", fields.URLS)
def test_passwords_in_urls(name: str) -> None:
    """The password of a URL is a secret, as it is written and as it is read."""
    loaded = load({name: "https://user:pass%21word@host/"})

    assert {"pass%21word", "pass!word"} <= set(loaded.secrets)


@pytest.mark.parametrize(
    ("environment", "url", "key"),
    [
        ({}, "https://first.example.org/v1", "sk-first"),
        (
            {"CROCBOT_FALLBACK_BASE_URL": "https://second.example.org/v1"},
            "https://second.example.org/v1",
            None,
        ),
        (
            {"CROCBOT_FALLBACK_API_KEY": "sk-second"},
            "https://first.example.org/v1",
            "sk-second",
        ),
    ],
)
def test_the_server_of_the_fallback(
    environment: dict[str, str], url: str, key: str | None
) -> None:
    """It is the first agent's if none is set; no other server gets that key."""
    loaded = load(
        {
            "OPENAI_BASE_URL": "https://first.example.org/v1",
            "OPENAI_API_KEY": "sk-first",
            "CROCBOT_SYSTEM_PROMPT": "Be kind.",
            "CROCBOT_FALLBACK_AGENT": "openai",
            "CROCBOT_FALLBACK_MODEL": "m",
            **environment,
        }
    )
    fallback = loaded.fallback

    assert fallback is not None
    assert (fallback.agent, fallback.model) == ("openai", "m")
    assert (fallback.openai_base_url, fallback.fallback) == (url, None)
    found = fallback.openai_api_key
    assert (found and found.get_secret_value()) == key
    assert fallback.system_prompt == "Be kind."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", "CROCBOT_PRICES: {file} is not TOML: Expected '=' after a key"),
        ("m = 3", "{file}: m is 3: must be a table with input and output"),
        ("[m]\ninput = 1", "{file}: m.output is missing: it must be dollars per"),
        ("[m]\ninput = 1\noutput = 'x'", "{file}: m.output is 'x': must be dollars"),
        ("[m]\ninput = -1\noutput = 1", "{file}: m.input is -1: must be dollars per"),
        ("[m]\ninput = nan\noutput = 1", "{file}: m.input is NaN: must be dollars"),
        ("[m]\ninput = inf\noutput = 1", "{file}: m.input is Infinity: must be"),
        ("[m]\ninput = true\noutput = 1", "{file}: m.input is True: must be dollars"),
        ("[m]\ninput = 2e6\noutput = 1", "{file}: m.input is 2E+6: must be dollars"),
        ("[m]\ninput = 1\nouput = 1", "{file}: m.ouput is no price: must be input,"),
        (
            "[gpt-4.1]\ninput = 1\noutput = 1",
            "{file}: gpt-4 has a table 1: write the name of a model with a dot in"
            ' quotation marks, ["gpt-4.1"]',
        ),
        ('["a\\nb".c]\nx = 1', "{file}: 'a\\nb' has a table c: write the name of a"),
        ("[m]\noutput = 1\ninput = " + "9" * 900 + ".5", "{file}: m.input is 999"),
        ('["a\\nb"]\nx = 1', "{file}: 'a\\nb'.x is no price: must be input, output"),
    ],
)
def test_mistakes_in_prices(tmp_path: Path, text: str, expected: str) -> None:
    """Each is one line with the file and the key."""
    file = tmp_path / "prices.toml"
    file.write_text(text)
    found = error({"CROCBOT_PRICES": str(file), "TELEGRAM_BOT_TOKEN": TOKEN})

    assert expected.format(file=file) in found
    assert len(found.splitlines()) == 1
    assert len(found) < 300 + len(str(file))


def test_a_price_file_that_is_not_there(tmp_path: Path) -> None:
    """The error names the setting and the file."""
    file = tmp_path / "none.toml"
    expected = f"CROCBOT_PRICES: cannot read {file}: No such file or directory"

    assert error({"CROCBOT_PRICES": str(file)}) == expected


def test_prices(tmp_path: Path) -> None:
    """Each model of the settings has its label and price, or a warning."""
    file = tmp_path / "prices.toml"
    file.write_text('["gpt-4.1"]\ninput = 2\noutput = 8\n')
    loaded = load(
        {
            "CROCBOT_PRICES": str(file),
            "CROCBOT_AGENT": "http",
            "CROCBOT_AGENT_URL": "http://127.0.0.1/",
            "CROCBOT_MODEL": "gpt-4.1",
            "CROCBOT_FALLBACK_AGENT": "command",
            "CROCBOT_FALLBACK_COMMAND": "cat",
        }
    )
    first, second = loaded.priced_models

    assert (first.label, first.price is None) == ("gpt-4_1", False)
    assert (second.label, second.price) == ("command", None)
    assert settings.advice(loaded) == [
        "CROCBOT_PRICES has no price for 'command': its answers count as $0"
    ]


def config(tmp_path: Path, text: str) -> dict[str, str]:
    """Write a TOML file; return the variable that names it."""
    file = tmp_path / "crocbot.toml"
    file.write_text(text)
    return {"CROCBOT_CONFIG": str(file)}


def test_fields_that_are_nested_too_deeply() -> None:
    """They are refused in one line, like other fields that are not JSON."""
    line = error({"CROCBOT_MODEL_EXTRA": '{"a":' * 100_000})

    assert line.endswith(EXTRA_RULE)
    assert len(line) < 250


def test_toml(tmp_path: Path) -> None:
    """A TOML file has the same names in lower case; the environment wins."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    environment = config(
        tmp_path,
        f"telegram_bot_token_file = '{token}'\nallow_from = [7, 8]\n"
        "groups = ['-100:always', -200]\naccess = 'open'\nmax_turns = 3\n"
        "agent_command = ['cat', '-n']\nopenai_base_url = 'http://x/v1'\n"
        "keep_thinking = true\nmodel_extra = {temperature = 0.2}\n",
    )
    loaded, warnings = settings.load(environment | {"CROCBOT_MAX_TURNS": "4"}, None)

    assert warnings == []
    assert loaded.token.get_secret_value() == TOKEN
    assert loaded.allow_from == {7, 8}
    assert loaded.groups == {-100: "always", -200: "mention"}
    assert (loaded.access, loaded.max_turns) == ("open", 4)
    assert loaded.agent_command == ("cat", "-n")
    assert loaded.openai_base_url == "http://x/v1"
    assert (loaded.keep_thinking, loaded.request_fields) == (True, {"temperature": 0.2})
    assert load(environment).token.get_secret_value() == TOKEN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "alow_from = 7",
            "'alow_from' is not a setting of crocbot; did you mean allow",
        ),
        ("[crocbot]\nagent='echo'", "'crocbot' is not a setting of crocbot"),
        ("statsd_port = 99999", "statsd_port is 99999: must be a port, 1 to 65535"),
        ("allow_from = ['ada']", "allow_from is 'ada': must be Telegram user ids"),
        ("log_level = true", "log_level is True: must be debug, info, warn or error"),
        ("model_extra = {since = 2026-01-01}", "model_extra is {'since': datetime."),
        ("access = ", "is not TOML"),
    ],
)
def test_a_bad_toml_file(tmp_path: Path, text: str, expected: str) -> None:
    """A wrong TOML file is an error that names the file and the key."""
    line = error(config(tmp_path, text))

    file = str(tmp_path / "crocbot.toml")
    assert line.startswith((file, f"CROCBOT_CONFIG: {file} is not TOML"))
    assert expected in line


def test_what_the_agent_inherits() -> None:
    """The agent `command` gets no variable that may be a secret."""
    environment = {"PATH": "/bin", "LC_ALL": "C", "AWS_X": "x", "OPENAI_API_KEY": "y"}

    assert load(environment).agent_environment == {"PATH": "/bin", "LC_ALL": "C"}


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
        loaded = settings.load_only(env, settings.STATE_DIR, env_file=env_file)
        assert loaded.database == expected
    no_home = environment | {"HOME": "~no-such-user"}
    loaded = settings.load_only(no_home, settings.HEALTH_ADDRESS, env_file=None)
    assert loaded.health_address is None
    assert load(environment).database == Path("/s/crocbot.sqlite3")


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


def test_an_env_file_that_is_not_text(tmp_path: Path) -> None:
    """A file .env that cannot be read is refused, not skipped."""
    file = tmp_path / ".env"
    file.write_bytes(b"\xff\xfe")

    assert error({}, file).startswith(f"{file} cannot be")


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
    """An unknown CROCBOT_ variable gives a warning with the nearest name."""
    file = tmp_path / ".env"
    file.write_text("CROCBOT_STATE_DIRECTORY=/x\nOTHER=1\n")
    environment = {
        "CROCBOT_ALOW_FROM": "7",
        "CROCBOT_QQQ": "",
        "CROCBOT_BOT_TOKEN": "x",
    }
    _, warnings = settings.load({"TELEGRAM_BOT_TOKEN": TOKEN} | environment, file)

    assert warnings == [
        "'CROCBOT_ALOW_FROM' is not a setting of crocbot;"
        " did you mean CROCBOT_ALLOW_FROM?",
        "'CROCBOT_BOT_TOKEN' is not a setting of crocbot;"
        " did you mean TELEGRAM_BOT_TOKEN?",
        "'CROCBOT_QQQ' is not a setting of crocbot",
        "'CROCBOT_STATE_DIRECTORY' is not a setting of crocbot;"
        " did you mean CROCBOT_STATE_DIR?",
    ]
