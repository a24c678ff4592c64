"""The settings to the agent that they name, and the echo agent."""

from __future__ import annotations

import sys

import pytest

from crocbot import settings
from crocbot.agents import create_agent
from crocbot.agents.echo import EchoAgent
from crocbot.content import Attachment
from crocbot.errors import OperatorError
from crocbot.model import Prompt
from tests.crocbot.fakes import a_message

TOKEN = {"TELEGRAM_BOT_TOKEN": "1:a"}
NEEDED = {
    "echo": {},
    "http": {"CROCBOT_AGENT_URL": "http://127.0.0.1:1/"},
    "openai": {"CROCBOT_MODEL": "m", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"},
    "command": {"CROCBOT_AGENT_COMMAND": "cat -n"},
    "python": {"CROCBOT_AGENT_FUNCTION": "json:dumps"},
}


def load(agent: str) -> settings.Settings:
    """Return the settings for an agent."""
    loaded, _ = settings.load(TOKEN | {"CROCBOT_AGENT": agent} | NEEDED[agent], None)
    return loaded


@pytest.mark.parametrize("agent", NEEDED)
async def test_choose(agent: str) -> None:
    """CROCBOT_AGENT names the agent."""
    if agent == "openai":
        pytest.importorskip("openai", reason="the extra crocbot[openai] is missing")
    chosen = create_agent(load(agent))

    assert chosen.name == agent
    assert chosen.markdown == (agent != "echo")
    assert chosen.remembers == (agent in ("http", "openai", "python"))
    await chosen.close()


def test_without_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the operator reads what to install."""
    monkeypatch.setitem(sys.modules, "openai", None)

    with pytest.raises(OperatorError, match=r"pip install 'crocbot\[openai\]'"):
        create_agent(load("openai"))


@pytest.mark.parametrize(
    ("text", "command", "type_", "answer"),
    [
        ("hello", None, None, "hello"),
        (" two  words\n", None, None, " two  words\n"),
        ("now", "ask", None, "/ask now"),
        ("", "ask", None, "/ask"),
        ("a cat", None, "photo", "a cat"),
        ("", None, "video_note", "Received: video note, without words."),
        (" ", None, None, "Received: something, without words."),
        ("\u200b", None, None, "Received: something, without words."),
    ],
)
async def test_echo(
    text: str, command: str | None, type_: str | None, answer: str
) -> None:
    """The echo is the same text, or the types of the attachments without one."""
    attachments = (Attachment(type_, "something"),) if type_ else ()
    message = a_message(text, command=command, attachments=attachments)

    assert [part async for part in EchoAgent().answer(Prompt(message))] == [answer]
    assert await EchoAgent().check() == "echo answers the same text"
