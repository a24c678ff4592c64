"""Files, recordings, edits, and how answers are shown."""

from __future__ import annotations

from pydantic import BaseModel, Field

from crocbot.outgoing import MAX_FILE_BYTES
from crocbot.settings.values import (
    ApiKey,
    Edits,
    Hosts,
    Number,
    OnOff,
    Reaction,
    Text,
    UrlWithQuery,
    Whole,
)


class MessageFields(BaseModel):
    """The settings of messages and answers."""

    media_max_bytes: Whole = Field(
        5 * 1024 * 1024,
        ge=0,
        le=20_000_000,
        title="The size of the largest file or image that the agent gets; 0 for none.",
        description="must be bytes, 0 to 20000000",
    )
    transcribe_url: UrlWithQuery | None = Field(
        None,
        title="The OpenAI-compatible server that turns voice messages into words.",
        description="must be a URL, https://host/v1 or http://host:port/v1",
    )
    transcribe_model: Text = Field(
        "whisper-1",
        title="The model of that server.",
        description="must be the name of a model",
    )
    transcribe_api_key: ApiKey = Field(
        None,
        title="The API key of that server; many self-hosted servers need none.",
        description="must be the key of the server",
    )
    edits: Edits = Field(
        "ignore",
        title=(
            "What becomes of a message that is edited after its turn has begun:"
            " `ignore`, or `answer`, which tells the agent of the edit."
        ),
        description="must be ignore or answer",
    )
    files_max_bytes: Whole = Field(
        MAX_FILE_BYTES,
        ge=0,
        le=MAX_FILE_BYTES,
        title="The most bytes of the files of one answer together; 0 for no files.",
        description=f"must be bytes, 0 to {MAX_FILE_BYTES}",
    )
    fetch_hosts: Hosts = Field(
        frozenset(),
        title="Hosts from which files of answers may be fetched, if the agent gives an"
        " address, like `files.example.org`, `*.example.org` or `example.org:8443`;"
        " internal addresses never.",
        description="must be names of hosts separated by commas, each with an optional"
        " port, like files.example.org,*.example.org",
    )
    gather_seconds: Number = Field(
        1.5,
        ge=0,
        le=60,
        title="How long to wait for the rest of an album or a split paste.",
        description="must be seconds, 0 to 60",
    )
    rich: OnOff = Field(
        False,
        title="Whether answers with tables, formulas or more than 4,096 characters are"
        " sent as rich messages, which some apps show badly: `on` or `off`.",
        description="must be on or off",
    )
    acknowledge: Reaction | None = Field(
        None,
        title="The reaction on a message while it waits for its answer; none if empty.",
        description="must be an emoji that Telegram has as a reaction, like 👀 or 👍",
    )
