"""The engine that the settings choose."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from crocbot.store.interface import Store
from crocbot.store.sqlite import SqliteStore


class DatabaseSettings(Protocol):
    """The settings that choose the database."""

    @property
    def database(self) -> Path:
        """The SQLite file."""


def open_store(
    settings: DatabaseSettings, schemas: Sequence[str]
) -> AbstractAsyncContextManager[Store]:
    """Return the database of the settings; entering it raises OperatorError."""
    return SqliteStore(settings.database, schemas)
