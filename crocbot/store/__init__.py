"""
The database of the gateway: an SQLite file, or a PostgreSQL database of its replicas.

    async with open_store(settings, schemas) as store: ...      for the event loop
    with opened(file, schemas) as connection: ...               for the command line

`interface.py` is what both engines have, `sqlite.py` the file, with its clock in
`clock.py`.
"""

from __future__ import annotations

from crocbot.store.clock import load_clock
from crocbot.store.interface import (
    Connection,
    Cursor,
    Job,
    Reading,
    Store,
    StoreClock,
)
from crocbot.store.open import open_store
from crocbot.store.sqlite import SqliteStore, check_format, inspect, opened

__all__ = [
    "Connection",
    "Cursor",
    "Job",
    "Reading",
    "SqliteStore",
    "Store",
    "StoreClock",
    "check_format",
    "inspect",
    "load_clock",
    "open_store",
    "opened",
]
