"""
Every setting, once: its name, type, default, what it means and what is right.

    statsd_port: int = Field(9125, ge=1, title="meaning", description="must be ...")
    '-- CROCBOT_STATSD_PORT in the environment, statsd_port in TOML

A field with an alias has that name in the environment instead.  The title is for the
table in the docs; the description completes "NAME is 'value': ...".
"""

from __future__ import annotations

import hashlib
import hmac
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

PREFIX = "CROCBOT_"
TOKEN = "TELEGRAM_BOT_TOKEN"  # noqa: S105 (a name, not a token)
API_KEY = "OPENAI_API_KEY"
TOKEN_SHAPE = re.compile(r"[0-9]+:[A-Za-z0-9_-]+")
WEBHOOK_SECRET_SHAPE = re.compile(r"[A-Za-z0-9_-]{1,256}")
HEADER_SHAPE = re.compile(r"[!-~]+")
TOKEN_RIGHT = "must be a bot token as @BotFather shows it, 123456:ABC..."  # noqa: S105
URL = r"^https?://[^\s/?#]+[^\s?#]*$"
URL_RIGHT = "must be a URL, https://host or http://host:port"
AGENT_URL = r"^https?://[^\s/?#]+[^\s#]*$"
LISTEN = r"^((\[[0-9A-Fa-f:.]+\]|[^\s:\[\]]+):[0-9]{1,5})$"
ADDRESS = r"^(off|(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]]+):[0-9]{1,5})$"
IDS = "must be Telegram user ids with commas between them, as 123,456"
DATABASE = "crocbot.sqlite3"
MOST_PORTS = 65535
SECONDS = "must be seconds, 0.1 to 86400"

Ids = Annotated[frozenset[int], NoDecode]
GroupMode = Literal["mention", "always"]


class Settings(BaseSettings):
    """What the operator decided.  Made by `load`, which gives it all that is set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, protected_namespaces=()
    )

    token: SecretStr = Field(
        validation_alias=TOKEN,
        title="The token of your bot.",
        description=TOKEN_RIGHT,
    )
    telegram_api_url: str = Field(
        "https://api.telegram.org",
        pattern=URL,
        title="Another Bot API server: one of your own, or the sandbox.",
        description=URL_RIGHT,
    )
    state_dir: Path = Field(
        title="Where inbox, memory and pairings are kept.",
        description="must be a directory",
    )
    access: Literal["allowlist", "pairing", "open"] = Field(
        "allowlist",
        title="Who is answered in private chats: the listed; also who was paired; all.",
        description="must be allowlist, pairing or open",
    )
    allow_from: Ids = Field(
        frozenset(), title="Who is let in, by Telegram user id.", description=IDS
    )
    groups: Annotated[Mapping[int, GroupMode], NoDecode] = Field(
        {},
        title="Groups whose members are answered: when they mention the bot or reply "
        "to it, or with `:always` whatever they write.",
        description="must be group ids with commas between them, each with :mention"
        " or :always or nothing behind it, as -1001234,-1005678:always",
    )
    operators: Ids = Field(
        frozenset(),
        title="Who may use operator commands; if empty, who is in the allow-list.",
        description=IDS,
    )
    agent: Literal["echo", "http", "openai", "command"] = Field(
        "echo",
        title="Who answers.",
        description="must be echo, http, openai or command",
    )
    agent_url: str | None = Field(
        None,
        pattern=AGENT_URL,
        title="Where the agent `http` is asked.",
        description="must be a URL, https://host/path or http://host:port/path",
    )
    agent_command: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        title="The program of the agent `command`, with its arguments; no shell.",
        description="must be a program and its arguments, quoted as in a shell",
    )
    openai_base_url: str = Field(
        "https://api.openai.com/v1",
        validation_alias="OPENAI_BASE_URL",
        pattern=URL,
        title="The OpenAI-compatible server of the agent `openai`.",
        description="must be a URL, https://host/v1 or http://host:port/v1",
    )
    openai_api_key: SecretStr | None = Field(
        None,
        validation_alias=API_KEY,
        title="Its key; many servers of one's own need none.",
        description="must be the key of the server",
    )
    model: str | None = Field(
        None,
        title="The model of the agent `openai`.",
        description="must be the name of a model",
    )
    system_prompt: str | None = Field(
        None,
        title="What the model is told before every conversation.",
        description="must be a text",
    )
    agent_secret: SecretStr | None = Field(
        None,
        title="Key of the signature that the agent `http` is sent.",
        description="must be a text that only you and the agent know",
    )
    agent_connect_seconds: float = Field(
        5.0,
        ge=0.1,
        le=86400,
        title="How long connecting to the agent may take.",
        description=SECONDS,
    )
    agent_first_byte_seconds: float = Field(
        60.0,
        ge=0.1,
        le=86400,
        title="How long the agent may take until the first piece of its answer.",
        description=SECONDS,
    )
    agent_total_seconds: float = Field(
        600.0,
        ge=0.1,
        le=86400,
        title="How long the agent may take for all of its answer.",
        description=SECONDS,
    )
    history_turns: int = Field(
        20,
        ge=0,
        le=1000,
        title="How many exchanges with a chat the agent is reminded of.",
        description="must be 0 to 1000",
    )
    history_chars: int = Field(
        20000,
        ge=0,
        le=1_000_000,
        title="How many characters these may have together.",
        description="must be 0 to 1000000",
    )
    media_max_bytes: int = Field(
        5 * 1024 * 1024,
        ge=0,
        le=20_000_000,
        title="The largest image that is loaded for the agent; 0 for none.",
        description="must be bytes, 0 to 20000000",
    )
    gather_seconds: float = Field(
        1.5,
        ge=0,
        le=60,
        title="How long to wait for the rest of an album or a split paste.",
        description="must be seconds, 0 to 60",
    )
    statsd_host: str = Field(
        "127.0.0.1",
        pattern=r"^\S+$",
        title="Who gets the metrics; `off` for nobody.",
        description="must be a host, or off",
    )
    statsd_port: int = Field(
        9125,
        ge=1,
        le=65535,
        title="The UDP port there.",
        description="must be a port, 1 to 65535",
    )
    health_address: str = Field(
        "127.0.0.1:8787",
        pattern=ADDRESS,
        title="Where `/healthz` and `/readyz` are served; `off` for nowhere.",
        description="must be host:port, or off",
    )
    webhook_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/?#]+[^\s?#]*$",
        title="The public URL for updates; if set, Telegram calls instead of being "
        "polled.",
        description="must be a URL, https://host/path",
    )
    webhook_listen: str = Field(
        "127.0.0.1:8443",
        pattern=LISTEN,
        title="Where these calls are taken, behind a proxy that speaks TLS.",
        description="must be host:port",
    )
    webhook_secret: SecretStr | None = Field(
        None,
        title="What Telegram must show with each call; if empty, made of the token.",
        description="must be 1 to 256 of A-Z, a-z, 0-9, _ and -",
    )
    log_level: Literal["debug", "info", "warn", "error"] = Field(
        "info",
        title="The least important kind of event that is logged.",
        description="must be debug, info, warn or error",
    )
    log_format: Literal["console", "json"] = Field(
        "console",
        title="Logs for people, or for programs.",
        description="must be console or json",
    )
    max_turns: int = Field(
        64,
        ge=1,
        le=1000,
        title="How many chats are answered at once.",
        description="must be 1 to 1000",
    )
    drain_seconds: float = Field(
        8.0,
        ge=0,
        le=3600,
        title="How long a stop waits for answers that are on their way.",
        description="must be seconds, 0 to 3600",
    )
    # Not the operator's: what a program that answers is given, filled in by `load`.
    inherited: Mapping[str, str] = Field({}, exclude=True, repr=False)

    @field_validator("access", "agent", "log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        word = value.strip().lower() if isinstance(value, str) else value
        return "warn" if word == "warning" else word

    @field_validator("allow_from", "operators", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return frozenset(_words(value))

    @field_validator("groups", mode="before")
    @classmethod
    def _modes(cls, value: object) -> object:
        if isinstance(value, Mapping):
            return value
        parts = (str(word).partition(":") for word in _words(value))
        return {
            number.strip(): mode.strip().lower() if colon else get_args(GroupMode)[0]
            for number, colon, mode in parts
        }

    @field_validator("agent_command", mode="before")
    @classmethod
    def _arguments(cls, value: object) -> object:
        words = shlex.split(value) if isinstance(value, str) else value
        if isinstance(value, str) and not words:
            raise ValueError("there is no program")
        return words

    @field_validator("telegram_api_url", "openai_base_url", "agent_url", "webhook_url")
    @classmethod
    def _reachable(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            # Both look harmless, and raise ValueError for what no name or port is.
            _ = (parts.hostname or "").encode("idna"), parts.port
        return value

    @field_validator("health_address", "webhook_listen")
    @classmethod
    def _listenable(cls, value: str) -> str:
        port = value.rpartition(":")[2]
        if port.isdigit() and int(port) > MOST_PORTS:
            raise ValueError("there is no such port")
        return value

    @field_validator("telegram_api_url", "openai_base_url")
    @classmethod
    def _without_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @field_validator("token")
    @classmethod
    def _shaped(cls, value: SecretStr) -> SecretStr:
        if not TOKEN_SHAPE.fullmatch(value.get_secret_value()):
            raise ValueError(TOKEN_RIGHT)
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _showable(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not WEBHOOK_SECRET_SHAPE.fullmatch(value.get_secret_value()):
            raise ValueError("Telegram does not take it")
        return value

    @field_validator("openai_api_key")
    @classmethod
    def _sendable(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not HEADER_SHAPE.fullmatch(value.get_secret_value()):
            raise ValueError("no header takes it")
        return value

    @field_validator("state_dir")
    @classmethod
    def _expanded(cls, value: Path) -> Path:
        if "\0" in str(value):
            raise ValueError("no name of a file has this character")
        try:
            return value.expanduser()
        except RuntimeError as error:
            raise ValueError("nobody has this home") from error

    @property
    def database(self) -> Path:
        """The one SQLite file of the state directory; all tables share it."""
        return self.state_dir / DATABASE

    @property
    def secrets(self) -> list[str]:
        """What no log may show."""
        held = (self.token, self.openai_api_key, self.agent_secret, self.webhook_secret)
        known = [secret.get_secret_value() for secret in held if secret]
        made = self.webhook_url and not self.webhook_secret
        return [*known, self.webhook_key] if made else known

    @property
    def webhook_key(self) -> str:
        """
        What Telegram must show.

        Made of the token it is stable, and does not tell it.
        """
        if self.webhook_secret is not None:
            return self.webhook_secret.get_secret_value()
        key = self.token.get_secret_value().encode()
        return hmac.new(key, b"webhook", hashlib.sha256).hexdigest()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Look at what `load` passes in, and not again at os.environ."""
        return (init_settings,)


def _words(value: object) -> list[object]:
    """What is between the commas; a list of TOML has its own."""
    if isinstance(value, str):
        return [part for word in value.split(",") if (part := word.strip())]
    return list(value) if isinstance(value, list | frozenset | set) else [value]


def _names() -> dict[str, str]:
    fields = Settings.model_fields.items()
    return {
        str(field.validation_alias or PREFIX + name.upper()): name
        for name, field in fields
        if name != "inherited"
    }


NAMES: Mapping[str, str] = _names()
"""The name of each setting in the environment, and that of its field."""

SECRETS = (TOKEN, API_KEY, "CROCBOT_AGENT_SECRET", "CROCBOT_WEBHOOK_SECRET")
"""Settings that may also come from a file, which NAME_FILE names."""

NEEDS = {"http": ("agent_url",), "openai": ("model",), "command": ("agent_command",)}
"""What else must be set for an agent."""
