"""Metrics, health, the webhook, the log, and the bounds of a process."""

from __future__ import annotations

from pydantic import BaseModel, Field

from crocbot.model import HostPort
from crocbot.settings.values import (
    Address,
    AddressOrOff,
    LogFormat,
    LogLevel,
    Number,
    StatsdHost,
    Url,
    WebhookSecret,
    Whole,
)


class OperationFields(BaseModel):
    """The settings of the process."""

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
