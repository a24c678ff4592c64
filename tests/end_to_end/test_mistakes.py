"""Every mistake in the table of docs/operations.md gives the line that it names."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.end_to_end.programs import Run
from tests.end_to_end.world import World
from tests.ports import HOST, free_port

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
NO_HOST = "no-such-host.invalid"
# Each mistake as settings.  {token} is a file that every user may read, {port} a port
# on which nothing listens, {server} a server without TLS; an empty variable counts as
# unset.
MISTAKES = {
    "a group's id among the users": {"CROCBOT_ALLOW_FROM": "7,-1001234"},
    "a user's id among the groups": {"CROCBOT_GROUPS": "77:always"},
    "a webhook without TLS": {"CROCBOT_WEBHOOK_URL": "http://bot.example.org/"},
    "a blank after the token": {"TELEGRAM_BOT_TOKEN": "123:abc "},
    "the token in place of the path of its file": {
        "TELEGRAM_BOT_TOKEN": "",
        "TELEGRAM_BOT_TOKEN_FILE": "123:abc",
    },
    "a program that does not exist": {
        "CROCBOT_AGENT": "command",
        "CROCBOT_AGENT_COMMAND": "/nowhere/program",
    },
    "a proxy of an unknown kind": {
        "CROCBOT_TELEGRAM_API_URL": "https://api.telegram.org",
        "HTTPS_PROXY": "gopher://127.0.0.1:70",
    },
    "Telegram cannot be reached": {"CROCBOT_TELEGRAM_API_URL": f"https://{NO_HOST}"},
    "the agent cannot be reached": {
        "CROCBOT_AGENT": "http",
        "CROCBOT_AGENT_URL": f"http://{HOST}:{{port}}/",
    },
    "the server of transcriptions cannot be reached": {
        "CROCBOT_TRANSCRIBE_URL": f"http://{HOST}:{{port}}/v1",
    },
    "the agent is at a URL without TLS": {
        "CROCBOT_AGENT": "http",
        "CROCBOT_AGENT_URL": "{server}",
    },
    "nothing receives the metrics": {"CROCBOT_STATSD_PORT": "{port}"},
    "the host of the metrics is unknown": {"CROCBOT_STATSD_HOST": NO_HOST},
    "everyone may run a program": {
        "CROCBOT_AGENT": "command",
        "CROCBOT_AGENT_COMMAND": "cat",
    },
    "every user may read the token": {
        "TELEGRAM_BOT_TOKEN": "",
        "TELEGRAM_BOT_TOKEN_FILE": "{token}",
    },
    "no user is allowed": {"CROCBOT_ACCESS": "allowlist"},
    "privacy mode hides messages of a group with `:always`": {
        "CROCBOT_GROUPS": "-1001234:always"
    },
}


def table() -> dict[str, tuple[int, str]]:
    """Return the exit code and the words of each mistake on the page."""
    _, _, rest = PAGE.read_text().partition("## Mistakes in the settings")
    lines = [line for line in rest.partition("\n## ")[0].splitlines() if "| `" in line]
    cells = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    return {mistake: (int(code), words.strip("`")) for mistake, code, words in cells}


def test_the_page_has_every_mistake() -> None:
    """The page and this file have the same mistakes."""
    assert set(table()) == set(MISTAKES)


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_mistake(world: World, run: Run, mistake: str) -> None:
    """`check` ends with the code and the line that the page names, and no traceback."""
    code, words = table()[mistake]
    token = world.home / "token"
    token.write_text(world.server.token)
    token.chmod(0o644)
    server = world.server.url.replace("http:", "https:")
    values = {"token": token, "port": free_port(), "server": server}
    chosen = {name: text.format(**values) for name, text in MISTAKES[mistake].items()}
    statsd = {"CROCBOT_STATSD_HOST": "off"} if "metrics" not in mistake else {}
    settings = {**world.settings(), **statsd, **chosen}
    checked = run("crocbot", "check", **settings)
    ended, out, err = await asyncio.to_thread(checked.end)

    assert ended == code, out + err
    (line,) = [line for line in (out + err).splitlines() if words in line]
    assert line.startswith("warning: " if code == 0 else "crocbot: ")
    assert "Traceback" not in err
