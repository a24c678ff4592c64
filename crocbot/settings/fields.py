"""
Every setting, once: its name, type, default, meaning and valid values.

    statsd_port: Whole = Field(9125, ge=1, title="meaning", description="must be ...")
    '-- CROCBOT_STATSD_PORT in the environment, statsd_port in TOML

A field with an alias has that name in the environment instead.  The title is for the
table in the docs; the description completes "NAME is 'value': ...".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field

from crocbot.model import HostPort
from crocbot.outgoing import MAX_FILE_BYTES
from crocbot.proxies import Proxies
from crocbot.settings.values import (
    Access,
    Address,
    AddressOrOff,
    AgentName,
    ApiKey,
    ApiUrl,
    Directory,
    Edits,
    Flag,
    Groups,
    Hosts,
    Ids,
    LogFormat,
    LogLevel,
    ModelServerUrl,
    Number,
    OnOff,
    Program,
    Reaction,
    RequestFields,
    Seconds,
    Secret,
    StatsdHost,
    Text,
    Token,
    Url,
    UrlWithQuery,
    WebhookSecret,
    Whole,
)

PREFIX = "CROCBOT_"
TOKEN = "TELEGRAM_BOT_TOKEN"  # noqa: S105 (a name, not a token)
API_KEY = "OPENAI_API_KEY"
STATE_DIR = "CROCBOT_STATE_DIR"
HEALTH_ADDRESS = "CROCBOT_HEALTH_ADDRESS"
DATABASE = "crocbot.sqlite3"
TOKEN_RULE = "must be a bot token as @BotFather shows it, 123456:ABC..."  # noqa: S105
URL_RULE = "must be a URL, https://host or http://host:port"
IDS_RULE = "must be Telegram user ids separated by commas, like 123,456"
SECONDS_RULE = "must be seconds, 0.1 to 86400"
# Fields of Settings that are derived, not set.
NO_SETTINGS = frozenset({"agent_environment", "proxy_variables", "secret_files"})


class Settings(BaseModel):
    """The validated settings, made by `load`, or with placeholders by `load_only`."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    token: Token = Field(
        validation_alias=TOKEN,
        title="The token of your bot.",
        description=TOKEN_RULE,
    )
    telegram_api_url: ApiUrl = Field(
        "https://api.telegram.org",
        title="The URL of the Bot API server: Telegram's, your own, or the sandbox.",
        description=URL_RULE,
    )
    state_dir: Directory = Field(
        title="The directory of the inbox, the conversations and the pairings.",
        description="must be a directory",
    )
    access: Access = Field(
        "allowlist",
        title="Who is answered in private chats: listed users, also paired ones, all.",
        description="must be allowlist, pairing or open",
    )
    allow_from: Ids = Field(
        frozenset(),
        title="Telegram user ids of the users who are answered.",
        description=IDS_RULE,
    )
    groups: Groups = Field(
        {},
        title="Groups whose members are answered if they mention the bot or reply to"
        " it, or, with `:always`, in any case.",
        description="must be group ids separated by commas, each of them optionally"
        " followed by :mention or :always, like -1001234,-1005678:always",
    )
    operators: Ids = Field(
        frozenset(),
        title="User ids of operators; if empty, those of `CROCBOT_ALLOW_FROM`.",
        description=IDS_RULE,
    )
    agent: AgentName = Field(
        "echo",
        title="The agent that answers.",
        description="must be echo, http, openai or command",
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
    statsd_host: StatsdHost = Field(
        "127.0.0.1",
        title="The host that receives the metrics; `off` to send none.",
        description="must be a host, or off",
    )
    statsd_port: Whole = Field(
        9125,
        ge=1,
        le=65535,
        title="The UDP port of that host.",
        description="must be a port, 1 to 65535",
    )
    health_address: AddressOrOff = Field(
        HostPort("127.0.0.1", 8787),
        title="The address that serves `/healthz` and `/readyz`; `off` for none.",
        description="must be host:port, or off",
    )
    webhook_url: Url | None = Field(
        None,
        title="The public URL of the webhook; if set, updates come by webhook.",
        description="must be a URL, https://host/path",
    )
    webhook_listen: Address = Field(
        HostPort("127.0.0.1", 8443),
        title="The address that receives webhook requests from a proxy with TLS.",
        description="must be host:port",
    )
    webhook_secret: WebhookSecret = Field(
        None,
        title="The secret of webhook requests; derived from the token if empty.",
        description="must be 1 to 256 of A-Z, a-z, 0-9, _ and -",
    )
    log_level: LogLevel = Field(
        "info",
        title="The lowest level that is logged.",
        description="must be debug, info, warn or error",
    )
    log_format: LogFormat = Field(
        "console",
        title="The format of the log: for people, or JSON.",
        description="must be console or json",
    )
    max_turns: Whole = Field(
        64,
        ge=1,
        le=1000,
        title="The most chats that are answered at the same time.",
        description="must be 1 to 1000",
    )
    drain_seconds: Number = Field(
        8.0,
        ge=0,
        le=3600,
        title="How long a stop waits for turns that are running.",
        description="must be seconds, 0 to 3600",
    )
    # Not a setting: the variables that the agent `command` gets; `load` fills them in.
    agent_environment: Mapping[str, str] = Field({}, exclude=True, repr=False)
    # Nor is this: the variables of the environment that name proxies.
    proxy_variables: Mapping[str, str] = Field({}, exclude=True, repr=False)
    # Nor is this: the files that secrets were read from, by where they are named.
    secret_files: Mapping[str, Path] = Field({}, exclude=True, repr=False)

    @property
    def database(self) -> Path:
        """Return the one SQLite file of the state directory; all tables share it."""
        return self.state_dir / DATABASE

    @property
    def secrets(self) -> list[str]:
        """Return all texts that no log may show."""
        fields = [getattr(self, NAMES[name]) for name in SECRETS]
        secrets = [field.get_secret_value() for field in fields if field]
        if self.webhook_url and not self.webhook_secret:
            secrets.append(self.webhook_key)
        for name in URLS:
            password = urlsplit(getattr(self, NAMES[name]) or "").password or ""
            secrets += {password, unquote(password)} - {""}
        return [*secrets, *self.proxies.passwords()]

    @property
    def proxies(self) -> Proxies:
        """Return the proxies of requests to Telegram and to the agent."""
        return Proxies(self.proxy_variables)

    @property
    def agent_server(self) -> str | None:
        """Return the URL that the agent sends requests to, None if it sends none."""
        urls = {"http": self.agent_url, "openai": self.openai_base_url}
        return urls.get(self.agent)

    @property
    def webhook_key(self) -> str:
        """
        Return the secret that each webhook call must have.

        Derived from the token it is the same after a restart, and does not reveal it.
        """
        if self.webhook_secret is not None:
            return self.webhook_secret.get_secret_value()
        key = self.token.get_secret_value().encode()
        return hmac.new(key, b"webhook", hashlib.sha256).hexdigest()


def _names() -> dict[str, str]:
    fields = Settings.model_fields.items()
    return {
        str(field.validation_alias or PREFIX + name.upper()): name
        for name, field in fields
        if name not in NO_SETTINGS
    }


NAMES: Mapping[str, str] = _names()
"""Names in the environment --> names of the fields."""

SECRETS = (
    TOKEN,
    API_KEY,
    "CROCBOT_AGENT_SECRET",
    "CROCBOT_TRANSCRIBE_API_KEY",
    "CROCBOT_WEBHOOK_SECRET",
)
"""Settings that may also come from a file, whose path is in NAME_FILE."""

URLS = (
    "CROCBOT_TELEGRAM_API_URL",
    "CROCBOT_AGENT_URL",
    "CROCBOT_TRANSCRIBE_URL",
    "CROCBOT_WEBHOOK_URL",
    "OPENAI_BASE_URL",
)
"""Settings whose value may contain a password."""

REQUIRED_FIELDS = {
    "http": ("agent_url",),
    "openai": ("model",),
    "command": ("agent_command",),
}
"""Agents --> the fields that must be set for them."""
