"""The fallback agent: a field for each one of the first agent that it may have."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, Field

from crocbot.settings.values import (
    AgentName,
    ApiKey,
    FunctionName,
    ModelServerUrl,
    Program,
    RequestFields,
    Secret,
    Text,
    UrlWithQuery,
)

FIELDS: Mapping[str, str] = {
    "fallback_agent": "agent",
    "fallback_url": "agent_url",
    "fallback_secret": "agent_secret",
    "fallback_command": "agent_command",
    "fallback_function": "agent_function",
    "fallback_base_url": "openai_base_url",
    "fallback_api_key": "openai_api_key",
    "fallback_model": "model",
    "fallback_model_extra": "request_fields",
    "fallback_system_prompt": "system_prompt",
}
"""Fields --> those of the first agent with the same meaning."""


class FallbackFields(BaseModel):
    """The settings of the fallback agent."""

    fallback_agent: AgentName | None = Field(
        None,
        title="The agent that is asked when the first fails before its first word.",
        description="must be echo, http, openai, command or python",
    )
    fallback_url: UrlWithQuery | None = Field(
        None,
        title="Its URL, if it is `http`.",
        description="must be a URL, https://host/path or http://host:port/path",
    )
    fallback_secret: Secret | None = Field(
        None,
        title="The key of the signature in requests to it, if it is `http`.",
        description="must be a text that only you and the agent know",
    )
    fallback_command: Program = Field(
        (),
        title="Its program with arguments, if it is `command`; no shell.",
        description="must be a program and its arguments, quoted as in a shell",
    )
    fallback_function: FunctionName | None = Field(
        None,
        title="Its function, if it is `python`, as `module:name`.",
        description="must be a module and a function in it, like agent:answer",
    )
    fallback_base_url: ModelServerUrl | None = Field(
        None,
        title="Its server, if it is `openai`; if empty, that of `OPENAI_BASE_URL`, with"
        " the same key.",
        description="must be a URL, https://host/v1 or http://host:port/v1",
    )
    fallback_api_key: ApiKey = Field(
        None,
        title="The API key of that server.",
        description="must be the key of the server",
    )
    fallback_model: Text | None = Field(
        None,
        title="Its model, if it is `openai`.",
        description="must be the name of a model",
    )
    fallback_model_extra: RequestFields = Field(
        {},
        title="Further fields of every request to it, if it is `openai`, as a JSON"
        " object.",
        description="must be a JSON object without model and messages, like"
        ' {"temperature": 0.2}',
    )
    fallback_system_prompt: str | None = Field(
        None,
        title="Its system prompt; if empty, `CROCBOT_SYSTEM_PROMPT`.",
        description="must be a text",
    )
