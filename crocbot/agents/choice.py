"""The settings to the agent that they name."""

from __future__ import annotations

from crocbot.agents.answer import Agent
from crocbot.agents.command import Command
from crocbot.agents.echo import Echo
from crocbot.agents.http import Http
from crocbot.agents.openai import OpenAI
from crocbot.settings import Settings


def choose(settings: Settings) -> Agent:
    """Create the agent that CROCBOT_AGENT names.  Raise OperatorError."""
    match settings.agent:
        case "http":
            secret = settings.agent_secret
            return Http(
                settings.agent_url or "",
                secret.get_secret_value() if secret else None,
                settings.agent_connect_seconds,
            )
        case "openai":
            key = settings.openai_api_key
            return OpenAI(
                base_url=settings.openai_base_url,
                api_key=key.get_secret_value() if key else None,
                model=settings.model or "",
                system_prompt=settings.system_prompt,
                connect_seconds=settings.agent_connect_seconds,
            )
        case "command":
            return Command(settings.agent_command, settings.inherited)
        case _:
            return Echo()
