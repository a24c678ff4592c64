"""The settings to the agent that they name."""

from __future__ import annotations

import sys

import pytest

from crocbot import settings
from crocbot.agents import choose
from crocbot.errors import OperatorError

TOKEN = {"TELEGRAM_BOT_TOKEN": "1:a"}
NEEDED = {
    "echo": {},
    "http": {"CROCBOT_AGENT_URL": "http://127.0.0.1:1/"},
    "openai": {"CROCBOT_MODEL": "m", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"},
    "command": {"CROCBOT_AGENT_COMMAND": "cat -n"},
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
    chosen = choose(load(agent))

    assert chosen.name == agent
    assert chosen.markdown == (agent != "echo")
    assert chosen.remembers == (agent in ("http", "openai"))
    await chosen.close()


def test_without_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the operator reads what to install."""
    monkeypatch.setitem(sys.modules, "openai", None)

    with pytest.raises(OperatorError, match=r"pip install 'crocbot\[openai\]'"):
        choose(load("openai"))
