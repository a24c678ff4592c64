"""Create the agents that the settings name."""

from __future__ import annotations

from crocbot.agents.answer import Agent
from crocbot.agents.command import CommandAgent
from crocbot.agents.echo import EchoAgent
from crocbot.agents.fallback import FallbackAgent
from crocbot.agents.function import load_function
from crocbot.agents.http import HttpAgent
from crocbot.agents.openai import OpenAIAgent
from crocbot.agents.python import PythonAgent
from crocbot.errors import OperatorError
from crocbot.settings import Settings, in_fallback_names
from crocbot.turn_folders import TurnFolders


def create_agent(settings: Settings) -> Agent:
    """Create the agent that CROCBOT_AGENT names.  Raise OperatorError."""
    match settings.agent:
        case "http":
            secret = settings.agent_secret
            return HttpAgent(
                settings.agent_url or "",
                secret.get_secret_value() if secret else None,
                settings.agent_connect_seconds,
                proxies=settings.proxies,
                max_file_bytes=settings.files_max_bytes,
            )
        case "openai":
            key = settings.openai_api_key
            return OpenAIAgent(
                base_url=settings.openai_base_url,
                api_key=key.get_secret_value() if key else None,
                model=settings.model or "",
                system_prompt=settings.system_prompt,
                connect_seconds=settings.agent_connect_seconds,
                extra=settings.request_fields,
                proxies=settings.proxies,
            )
        case "command":
            return CommandAgent(
                settings.agent_command,
                settings.agent_environment,
                TurnFolders(settings.state_dir),
                max_file_bytes=settings.files_max_bytes,
            )
        case "python":
            return PythonAgent(
                load_function(settings.agent_function or ""),
                system_prompt=settings.system_prompt,
                max_file_bytes=settings.files_max_bytes,
            )
        case _:
            return EchoAgent()


def create_fallback(settings: Settings) -> Agent | None:
    """Create the agent that CROCBOT_FALLBACK_AGENT names.  Raise OperatorError."""
    fallback = settings.fallback
    if fallback is None:
        return None
    try:
        return FallbackAgent(create_agent(fallback))
    except OperatorError as error:
        raise OperatorError(in_fallback_names(str(error))) from error
