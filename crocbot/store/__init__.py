"""
The database of the gateway: an SQLite file, or a PostgreSQL database of its replicas.

    async with open_store(settings, schemas) as store: ...      for the event loop
    with opened(file, schemas) as connection: ...               for the command line
    with opened_postgresql(url) as connection: ...

`interface.py` is what both engines have, `clock.py` their time.  `sqlite.py` is the
file.  `postgresql.py` is the database, `calls.py` a job on it, `commands.py` the same
for commands, `connect.py` and `listen.py` its connections, `schema.py` its tables.
`open.py` chooses the engine, and imports psycopg only then.  `probe.py` finds out facts
for `crocbot check`.
"""

from __future__ import annotations

from crocbot.store.clock import load_clock
from crocbot.store.facts import DatabaseFacts
from crocbot.store.interface import (
    HELD,
    Connection,
    Cursor,
    Job,
    Reading,
    Store,
    StoreClock,
    Write,
)
from crocbot.store.open import (
    find_facts,
    hears_notifications,
    inspect_postgresql,
    open_store,
    opened_postgresql,
    upgrade,
)
from crocbot.store.sqlite import SqliteStore, check_format, inspect, opened

__all__ = [
    "HELD",
    "Connection",
    "Cursor",
    "DatabaseFacts",
    "Job",
    "Reading",
    "SqliteStore",
    "Store",
    "StoreClock",
    "Write",
    "check_format",
    "find_facts",
    "hears_notifications",
    "inspect",
    "inspect_postgresql",
    "load_clock",
    "open_store",
    "opened",
    "opened_postgresql",
    "upgrade",
]
