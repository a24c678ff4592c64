"""
The environment to Settings: read once, checked whole, frozen.

    CROCBOT_STATSD_PORT=99999
    --> OperatorError: CROCBOT_STATSD_PORT is '99999': must be a port, 1 to 65535

The environment wins over the file `.env`; an empty variable counts as unset.  Nothing
else in the program reads the environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from crocbot.errors import OperatorError

PREFIX = "CROCBOT_"
TOKEN = "TELEGRAM_BOT_TOKEN"  # noqa: S105 (a name, not a token)
TOKEN_FILE = "TELEGRAM_BOT_TOKEN_FILE"  # noqa: S105
TOKEN_SHAPE = re.compile(r"[0-9]+:[A-Za-z0-9_-]+")
TOKEN_RIGHT = "must be a bot token as @BotFather shows it, 123456:ABC..."  # noqa: S105


class Settings(BaseSettings):
    """
    What the operator decided.  A field's description says what is right.

    Made by `load`, which gives it all values that are set.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    token: SecretStr = Field(validation_alias=TOKEN, description=TOKEN_RIGHT)
    token_file: Path | None = Field(
        None, validation_alias=TOKEN_FILE, description="must be a file with the token"
    )
    telegram_api_url: str = Field(
        "https://api.telegram.org",
        pattern=r"^https?://[^\s/?#]+[^\s?#]*$",
        description="must be a URL, https://host or http://host:port",
    )
    state_dir: Path = Field(description="must be a directory")
    access: Literal["allowlist", "open"] = Field(
        "allowlist", description="must be allowlist or open"
    )
    allow_from: Annotated[frozenset[int], NoDecode] = Field(
        frozenset(),
        description="must be Telegram user ids with commas between them, as 123,456",
    )
    agent: Literal["echo"] = Field("echo", description="must be echo")
    statsd_host: str = Field(
        "127.0.0.1", pattern=r"^\S+$", description="must be a host, or off"
    )
    statsd_port: int = Field(
        9125, ge=1, le=65535, description="must be a port, 1 to 65535"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="must be debug, info, warning or error"
    )
    log_format: Literal["console", "json"] = Field(
        "console", description="must be console or json"
    )
    max_turns: int = Field(64, ge=1, le=1000, description="must be 1 to 1000")
    drain_seconds: float = Field(
        8.0, ge=0, le=3600, description="must be seconds, 0 to 3600"
    )

    @field_validator("access", "agent", "log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("allow_from", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return frozenset(part for word in value.split(",") if (part := word.strip()))

    @field_validator("telegram_api_url")
    @classmethod
    def _without_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @field_validator("token")
    @classmethod
    def _shaped(cls, value: SecretStr) -> SecretStr:
        if not TOKEN_SHAPE.fullmatch(value.get_secret_value()):
            raise ValueError(TOKEN_RIGHT)
        return value

    @field_validator("state_dir")
    @classmethod
    def _expanded(cls, value: Path) -> Path:
        return value.expanduser()

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


class _Environment(EnvSettingsSource):
    """The environment that was passed in; os.environ is of no interest."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(Settings)
        self.env_vars = {
            name.lower(): value for name, value in environment.items() if value.strip()
        }


def load(
    environment: Mapping[str, str], env_file: Path | None = Path(".env")
) -> tuple[Settings, list[str]]:
    """Read the settings; also returns warnings to show."""
    try:
        file = DotEnvSettingsSource(Settings, env_file, "utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(f"{env_file} cannot be read: {error}") from error
    values = {
        "state_dir": _default_state_dir(environment),
        **file(),
        **_Environment(environment)(),
    }
    values[TOKEN] = _token(values)
    try:
        settings = Settings(**values)
    except ValidationError as error:
        # Without its cause, which shows the values, the token among them.
        raise OperatorError(_one_line(error)) from None
    return settings, _warnings([*environment, *file.env_vars])


def _default_state_dir(environment: Mapping[str, str]) -> Path:
    """Where the XDG rules want what a program must remember."""
    home = Path(environment.get("HOME") or "~").expanduser()
    state = Path(environment.get("XDG_STATE_HOME") or "")
    # The rules say that a relative path there is to be ignored.
    return (state if state.is_absolute() else home / ".local/state") / "crocbot"


def _token(values: Mapping[str, Any]) -> str:
    token, file = values.get(TOKEN), values.get(TOKEN_FILE)
    if token and file:
        raise OperatorError(f"{TOKEN} and {TOKEN_FILE} are both set: keep one")
    if token:
        return str(token).strip()
    if not file:
        raise OperatorError(
            f"{TOKEN} is not set: make a bot with @BotFather and set it to the token,"
            f" or {TOKEN_FILE} to a file with the token"
        )
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise OperatorError(f"{TOKEN_FILE}: cannot read {file}: {why}") from error


def _one_line(error: ValidationError) -> str:
    """The first thing that is wrong: which variable, what, what would be right."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0])
    if name == TOKEN:
        return f"{TOKEN} is not a token: {TOKEN_RIGHT}"
    right = Settings.model_fields[name].description
    return f"{PREFIX}{name.upper()} is {str(first['input'])[:80]!r}: {right}"


def _warnings(names: Iterable[str]) -> list[str]:
    """A word about each CROCBOT_ variable that nobody reads."""
    known = {
        (alias or PREFIX + name).upper().removeprefix(PREFIX): alias or PREFIX + name
        for name, field in Settings.model_fields.items()
        if isinstance(alias := field.validation_alias, str | None)
    }
    warnings = []
    for name in sorted({name.upper() for name in names}):
        word = name.removeprefix(PREFIX)
        if word == name or word in known:
            continue
        near = get_close_matches(word, known, n=1)
        hint = f"; did you mean {known[near[0]].upper()}?" if near else ""
        warnings.append(f"{name[:80]!r} is no setting of crocbot{hint}")
    return warnings
