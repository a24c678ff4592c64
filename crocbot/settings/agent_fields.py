"""The agent, its model, its time-outs, and the history that it gets."""

from __future__ import annotations

from pydantic import BaseModel, Field

from crocbot.settings.names import API_KEY, SECONDS_RULE
from crocbot.settings.values import (
    AgentName,
    ApiKey,
    Flag,
    FunctionName,
    ModelServerUrl,
    Program,
    RequestFields,
    Seconds,
    Secret,
    Text,
    UrlWithQuery,
    Whole,
)


class AgentFields(BaseModel):
    """The settings of the agent."""

    agent: AgentName = Field(
        "echo",
        title="The agent that answers.",
        description="must be echo, http, openai, command or python",
    )
    agent_url: UrlWithQuery | None = Field(
        None,
        title="The URL of the agent `http`.",
        description="must be a URL, https://host/path or http://host:port/path",
    )
    agent_command: Program = Field(
        (),
        title="The program of the agent `command`, with its arguments; no shell.",
        description="must be a program and its arguments, quoted as in a shell",
    )
    agent_function: FunctionName | None = Field(
        None,
        title="The function of the agent `python`, as `module:name`; the module may be"
        " in the working directory.",
        description="must be a module and a function in it, like agent:answer",
    )
    openai_base_url: ModelServerUrl = Field(
        "https://api.openai.com/v1",
        validation_alias="OPENAI_BASE_URL",
        title="The OpenAI-compatible server of the agent `openai`.",
        description="must be a URL, https://host/v1 or http://host:port/v1",
    )
    openai_api_key: ApiKey = Field(
        None,
        validation_alias=API_KEY,
        title="The API key of that server; many self-hosted servers need none.",
        description="must be the key of the server",
    )
    model: Text | None = Field(
        None,
        title="The model of the agent `openai`.",
        description="must be the name of a model",
    )
    system_prompt: str | None = Field(
        None,
        title="The system prompt of every conversation.",
        description="must be a text",
    )
    request_fields: RequestFields = Field(
        {},
        validation_alias="CROCBOT_MODEL_EXTRA",
        title="Further fields of every request of the agent `openai`, as a JSON object;"
        " a field that is null is left out of the request.",
        description="must be a JSON object without model and messages, like"
        ' {"temperature": 0.2}',
    )
    keep_thinking: Flag = Field(
        False,
        title="Whether answers are shown with their `<think>` blocks.",
        description="must be true or false",
    )
    agent_secret: Secret | None = Field(
        None,
        title="The key of the signature in requests to the agent `http`.",
        description="must be a text that only you and the agent know",
    )
    agent_connect_seconds: Seconds = Field(
        5.0,
        title="The longest time to connect to the agent.",
        description=SECONDS_RULE,
    )
    agent_first_byte_seconds: Seconds = Field(
        60.0,
        title="The longest time until the first part of the agent's answer.",
        description=SECONDS_RULE,
    )
    agent_total_seconds: Seconds = Field(
        600.0,
        title="The longest time until the end of the agent's answer.",
        description=SECONDS_RULE,
    )
    history_turns: Whole = Field(
        20,
        ge=0,
        le=1000,
        title="The most exchanges of a chat that the agent gets as history.",
        description="must be 0 to 1000",
    )
    history_chars: Whole = Field(
        20000,
        ge=0,
        le=1_000_000,
        title="The most characters of these exchanges together.",
        description="must be 0 to 1000000",
    )
