"""
What `crocbot check` says of the database: the SQLite file, or PostgreSQL.

    ok: database: postgresql://crocbot@db/crocbot is PostgreSQL 15.6, its tables have
        version 1, a statement takes 0.4 ms
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from crocbot import state_dir, store
from crocbot.database_url import DatabaseUrl
from crocbot.errors import OperatorError, StoreError
from crocbot.settings import DATABASE_URL, Settings
from crocbot.store import DatabaseFacts

# A message takes about six statements.
MAX_LATENCY_SECONDS = 0.1
MAX_CLOCK_DIFFERENCE_SECONDS = 5.0
NO_NOTIFICATIONS = (
    "notifications do not arrive, as behind a pooler in transaction mode: a message"
    " that another replica must answer waits up to a second"
)


def check_file(settings: Settings) -> tuple[str, list[str]]:
    """Return what is good of the SQLite file, and warnings.  Raise OperatorError."""
    file = settings.database
    exists = state_dir.exists(file)
    if exists:
        store.inspect(file)
    warnings = _check_folder(file)
    return f"{file} {'is valid' if exists else 'will be created'}", warnings


async def check_server(settings: Settings, url: DatabaseUrl) -> tuple[str, list[str]]:
    """
    Return what is good of the PostgreSQL database, and warnings.

    Raise OperatorError, or StoreError if the server cannot be reached.
    """
    facts = await store.find_facts(url)
    _require_usable(url, facts)
    warnings = list(_warnings(facts))
    if not await store.hears_notifications(url):
        warnings.append(NO_NOTIFICATIONS)
    if not facts.tables and state_dir.exists(settings.database):
        warnings.append(
            f"{settings.database} is not used: crocbot database move takes it over"
        )
    latency = f"a statement takes {facts.latency_seconds * 1000:.1f} ms"
    text = f"{url} is PostgreSQL {facts.server}, {_tables(facts)}, {latency}"
    # The lock of the gateway and the files of turns are in the directory.
    return text, [*warnings, *_check_folder(settings.database)]


def _check_folder(file: Path) -> list[str]:
    """Return a warning if others may enter the directory.  Raise OperatorError."""
    folder = next(one for one in file.parents if one.exists())
    if not os.access(folder, os.W_OK | os.X_OK) or not folder.is_dir():
        raise OperatorError(f"CROCBOT_STATE_DIR: cannot write in {folder}")
    warning = state_dir.open_directory(folder) if file.parent.exists() else None
    return [] if warning is None else [warning]


def _require_usable(url: DatabaseUrl, facts: DatabaseFacts) -> None:
    if facts.read_only:
        # After a failover the next try may find another server.
        raise StoreError(f"{url} is read-only, like a standby")
    if facts.tables < facts.needed and not facts.may_create:
        place = f"the schema {facts.schema}" if facts.schema else "any schema"
        raise OperatorError(
            f"{DATABASE_URL}: the user may not create tables in {place} of {url}:"
            " GRANT CREATE, or make the user the owner of the database"
        )


def _tables(facts: DatabaseFacts) -> str:
    if not facts.tables:
        return "its tables will be created"
    if facts.tables < facts.needed:
        return (
            f"its tables have version {facts.tables}, which the next start changes to"
            f" {facts.needed}"
        )
    return f"its tables have version {facts.tables}"


def _warnings(facts: DatabaseFacts) -> Iterator[str]:
    if facts.latency_seconds > MAX_LATENCY_SECONDS:
        yield (
            f"a statement takes {facts.latency_seconds * 1000:.0f} ms, and each message"
            " needs several: use a database that is nearer"
        )
    ahead = facts.clock_ahead
    if abs(ahead) > MAX_CLOCK_DIFFERENCE_SECONDS:
        order = "ahead of" if ahead > 0 else "behind"
        yield (
            f"the clock of the server is {abs(ahead):.0f} s {order} that of this"
            " machine: one of them is wrong"
        )
