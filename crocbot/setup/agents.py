"""The settings that each agent needs, as questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSetting:
    """
    A setting of an agent: its name, the question, and the flag that answers it.

    A hidden one is a secret: its flag names a file.  An optional one may stay empty.
    """

    name: str
    question: str
    flag: str
    default: str = ""
    hidden: bool = False
    optional: bool = False


URL = AgentSetting(
    name="CROCBOT_AGENT_URL", question="URL of your service", flag="--agent-url"
)
COMMAND = AgentSetting(
    name="CROCBOT_AGENT_COMMAND",
    question="Program and its arguments",
    flag="--agent-command",
)
FUNCTION = AgentSetting(
    name="CROCBOT_AGENT_FUNCTION",
    question="Function, as module:name",
    flag="--agent-function",
)
BASE_URL = AgentSetting(
    name="OPENAI_BASE_URL",
    question="Base URL of the server",
    flag="--openai-base-url",
    default="https://api.openai.com/v1",
)
MODEL = AgentSetting(name="CROCBOT_MODEL", question="Model", flag="--model")
KEY = AgentSetting(
    name="OPENAI_API_KEY",
    question="API key",
    flag="--api-key-file",
    hidden=True,
    optional=True,
)

AGENT_SETTINGS: Mapping[str, Sequence[AgentSetting]] = {
    "echo": (),
    "http": (URL,),
    "openai": (BASE_URL, MODEL, KEY),
    "command": (COMMAND,),
    "python": (FUNCTION,),
}
"""Agents --> their settings, in the order of the questions."""
