"""
All settings, each of them once, in the module of its group.

    statsd_port: Whole = Field(9125, ge=1, title="meaning", description="must be ...")
    '-- CROCBOT_STATSD_PORT in the environment, statsd_port in TOML

A field has its name, type, default, meaning and valid values.  One with an alias has
that name in the environment instead.  The title is for the table in the docs; the
description completes "NAME is 'value': ...".
"""

from __future__ import annotations

import hashlib
import hmac
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from crocbot.database_url import DatabaseUrl
from crocbot.prices import Price, PricedModel, label
from crocbot.proxies import Proxies
from crocbot.settings.access_fields import AccessFields
from crocbot.settings.agent_fields import AgentFields
from crocbot.settings.alert_fields import AlertFields
from crocbot.settings.database_fields import DatabaseFields
from crocbot.settings.fallback_fields import FIELDS as FALLBACK_FIELDS
from crocbot.settings.fallback_fields import FallbackFields
from crocbot.settings.limit_fields import LimitFields
from crocbot.settings.message_fields import MessageFields
from crocbot.settings.names import API_KEY, DATABASE, DATABASE_URL, PREFIX, TOKEN
from crocbot.settings.operation_fields import OperationFields
from crocbot.settings.push_fields import PushFields

# Fields of Settings that are derived, not set.
NO_SETTINGS = frozenset(
    {"agent_environment", "proxy_variables", "secret_files", "price_table"}
)
# A shorter part of a URL may be an ordinary word.
MIN_URL_SECRET_CHARS = 16


class Settings(
    AlertFields,
    PushFields,
    OperationFields,
    LimitFields,
    MessageFields,
    FallbackFields,
    AgentFields,
    DatabaseFields,
    AccessFields,
):
    """The validated settings, made by `load`, or with placeholders by `load_only`."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    # Not a setting: the variables that the agent `command` gets; `load` fills them in.
    agent_environment: Mapping[str, str] = Field({}, exclude=True, repr=False)
    # Nor is this: the variables of the environment that name proxies.
    proxy_variables: Mapping[str, str] = Field({}, exclude=True, repr=False)
    # Nor is this: the files that secrets were read from, by where they are named.
    secret_files: Mapping[str, Path] = Field({}, exclude=True, repr=False)
    # Nor is this: the prices in the file that `prices` names; `load` reads it.
    price_table: Mapping[str, Price] = Field({}, exclude=True, repr=False)

    @property
    def database(self) -> Path:
        """Return the one SQLite file of the state directory; all tables share it."""
        return self.state_dir / DATABASE

    @property
    def postgresql(self) -> DatabaseUrl | None:
        """Return the URL of the database that is used in place of this file."""
        url = self.database_url
        return None if url is None else DatabaseUrl.parse(url.get_secret_value())

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
        secrets += self._webhook_secrets()
        secrets += self.postgresql.secrets if self.postgresql else ()
        return [*secrets, *self.proxies.passwords()]

    def _webhook_secrets(self) -> list[str]:
        """Return the parts of the alerts' URL that an error could quote alone."""
        if self.alert_webhook is None:
            return []
        parts = urlsplit(self.alert_webhook.get_secret_value())
        words = {parts.path.rpartition("/")[2], parts.query}
        password = parts.password or ""
        return [
            *({password, unquote(password)} - {""}),
            *(word for word in words if len(word) >= MIN_URL_SECRET_CHARS),
        ]

    @property
    def has_alerts(self) -> bool:
        """Return whether there is a way for alerts."""
        return self.alert_chat is not None or self.alert_webhook is not None

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
    def model_name(self) -> str:
        """Return the name of the model in the price file; else that of the agent."""
        return self.model or self.agent

    @property
    def priced_models(self) -> tuple[PricedModel, ...]:
        """Return the models of the first agent and of the fallback agent."""
        names = [each.model_name for each in (self, self.fallback) if each is not None]
        return tuple(
            PricedModel(label(name), self.price_table.get(name)) for name in names
        )

    @property
    def fallback(self) -> Settings | None:
        """
        Return these settings with the fallback agent in place of the first one.

        None if there is none.  The key of the first agent goes to no other server.
        """
        if self.fallback_agent is None:
            return None
        first: dict[str, Any] = {
            field: getattr(self, name) for name, field in FALLBACK_FIELDS.items()
        }
        if self.fallback_base_url is None:
            first["openai_base_url"] = self.openai_base_url
            first["openai_api_key"] = self.fallback_api_key or self.openai_api_key
        first["system_prompt"] = self.fallback_system_prompt or self.system_prompt
        return self.model_copy(update={**first, "fallback_agent": None})

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


def text_of(settings: Settings, name: str) -> str:
    """Return the value of a setting as a text that sets it to this value."""
    match value := getattr(settings, NAMES[name]):
        case SecretStr():
            return value.get_secret_value()
        case frozenset():
            return ",".join(map(str, sorted(value)))
        case tuple():
            return shlex.join(value)
        case _:
            return "" if value is None else str(value)


def _names() -> dict[str, str]:
    fields = Settings.model_fields.items()
    return {
        str(field.validation_alias or PREFIX + name.upper()): name
        for name, field in fields
        if name not in NO_SETTINGS
    }


NAMES: Mapping[str, str] = _names()
"""Names in the environment --> names of the fields."""


def _names_of(*groups: type[BaseModel]) -> frozenset[str]:
    fields = {field for group in groups for field in group.model_fields}
    return frozenset(name for name, field in NAMES.items() if field in fields)


AGENT_SETTINGS = _names_of(AgentFields, FallbackFields, MessageFields)
"""The settings that the demo takes over from a gateway, if an agent is set."""

CHAT_SETTINGS = (
    AGENT_SETTINGS
    | _names_of(LimitFields, AccessFields)
    | {"CROCBOT_LOG_LEVEL", "CROCBOT_LOG_FORMAT", "CROCBOT_MAX_TURNS"}
)
"""The settings that `crocbot chat` takes over from a gateway."""

SECRETS = (
    TOKEN,
    API_KEY,
    "CROCBOT_AGENT_SECRET",
    "CROCBOT_FALLBACK_API_KEY",
    "CROCBOT_FALLBACK_SECRET",
    "CROCBOT_ALERT_WEBHOOK",
    DATABASE_URL,
    "CROCBOT_SEND_SECRET",
    "CROCBOT_TRANSCRIBE_API_KEY",
    "CROCBOT_WEBHOOK_SECRET",
)
"""Settings that may also come from a file, whose path is in NAME_FILE."""

URLS = (
    "CROCBOT_TELEGRAM_API_URL",
    "CROCBOT_AGENT_URL",
    "CROCBOT_FALLBACK_BASE_URL",
    "CROCBOT_FALLBACK_URL",
    "CROCBOT_TRANSCRIBE_URL",
    "CROCBOT_WEBHOOK_URL",
    "OPENAI_BASE_URL",
)
"""Settings whose value may contain a password."""

REQUIRED_FIELDS = {
    "http": ("agent_url",),
    "openai": ("model",),
    "command": ("agent_command",),
    "python": ("agent_function",),
}
"""Agents --> the fields that must be set for them."""


def in_fallback_names(text: str) -> str:
    """
    Replace the names of settings of the first agent by those of the fallback agent.

        "set OPENAI_BASE_URL to ..." --> "set CROCBOT_FALLBACK_BASE_URL to ..."
    """
    return _FIRST_NAMES.sub(lambda found: _FALLBACK_NAMES[found[0]], text)


def name_of(field: str) -> str:
    """Return the name of a field in the environment."""
    return next(name for name, known in NAMES.items() if known == field)


_FALLBACK_NAMES: Mapping[str, str] = {
    name_of(field): name_of(name) for name, field in FALLBACK_FIELDS.items()
}
_FIRST_NAMES = re.compile(rf"\b(?:{'|'.join(_FALLBACK_NAMES)})\b")
