"""The settings to the agent that they name."""

from __future__ import annotations

from crocbot.agents.agent import Agent
from crocbot.agents.command import Command
from crocbot.agents.echo import Echo
from crocbot.agents.http import Http
from crocbot.agents.openai import OpenAI
from crocbot.settings import Settings


def choose(settings: Settings) -> Agent:
    """Make the agent; raises OperatorError."""
    connect_seconds = settings.agent_connect_seconds
    match settings.agent:
        case "http":
            secret = settings.agent_secret
            return Http(
                settings.agent_url or "",
                secret.get_secret_value() if secret else None,
                connect_seconds,
            )
        case "openai":
            key = settings.openai_api_key
            return OpenAI(
                settings.openai_base_url,
                key.get_secret_value() if key else None,
                settings.model or "",
                settings.system_prompt,
                connect_seconds,
            )
        case "command":
            return Command(settings.agent_command, settings.inherited)
        case _:
            return Echo()
