"""Alerts of the gateway itself."""

from __future__ import annotations

from pydantic import BaseModel, Field

from crocbot.chat_ids import CHAT_RULE
from crocbot.settings.values import AlertChat, BaseUrl, Number, SecretUrl

DAY_RULE = "must be seconds, 0 to 86400"


class AlertFields(BaseModel):
    """The settings of alerts."""

    alert_chat: AlertChat | None = Field(
        None,
        title="The chat that gets alerts, or `ID:TOPIC`; it must have written to the"
        " bot.",
        description=CHAT_RULE,
    )
    alert_webhook: SecretUrl | None = Field(
        None,
        title="The URL that gets alerts as JSON, in the format of Alertmanager.",
        description="must be a URL, https://host/path or http://host:port/path",
    )
    alert_after_seconds: Number = Field(
        60.0,
        ge=0,
        le=86400,
        title="How long a condition that lasts must hold before its alert fires.",
        description=DAY_RULE,
    )
    alert_clear_seconds: Number = Field(
        300.0,
        ge=0,
        le=86400,
        title="How long a condition must not hold before its alert is over.",
        description=DAY_RULE,
    )
    alert_repeat_seconds: Number = Field(
        14400.0,
        ge=1,
        le=604800,
        title="When an alert that still fires is sent again.",
        description="must be seconds, 1 to 604800",
    )
    runbooks_url: BaseUrl | None = Field(
        None,
        title="The address of the folder `docs/runbooks` in your copy of the project,"
        " for the addresses in alerts.",
        description="must be a URL, https://host/path or http://host:port/path",
    )
