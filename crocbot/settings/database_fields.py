"""The database, if it is not the file in the state directory."""

from __future__ import annotations

from pydantic import BaseModel, Field

from crocbot.settings.values import DatabaseSecretUrl


class DatabaseFields(BaseModel):
    """The settings of the database."""

    database_url: DatabaseSecretUrl | None = Field(
        None,
        title="The PostgreSQL database that replicas share, in place of the SQLite file"
        " in `CROCBOT_STATE_DIR`.",
        description="must be a URL, postgresql://user:password@host:port/database",
    )
