"""Messages that the operator's programs push."""

from __future__ import annotations

from pydantic import BaseModel, Field

from crocbot.settings.values import ApiKey


class PushFields(BaseModel):
    """The settings of pushed messages."""

    send_secret: ApiKey = Field(
        None,
        title="The secret of `POST /send` at `CROCBOT_HEALTH_ADDRESS`, which sends a"
        " message to any chat; without it there is no such page.",
        description="must be visible ASCII characters without blanks",
    )
