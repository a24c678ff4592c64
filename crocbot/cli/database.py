"""`crocbot database`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from crocbot.cli import common
from crocbot.errors import OperatorError

if TYPE_CHECKING:
    from pathlib import Path

    from crocbot.database_move import Moved
    from crocbot.database_url import DatabaseUrl
    from crocbot.settings import Settings


@click.group("database")
def database_() -> None:
    """The PostgreSQL database that CROCBOT_DATABASE_URL names."""


@database_.command("upgrade")
def database_upgrade() -> None:
    """Make the tables, or change them to the form of this version.

    A start of the gateway does the same.  A newer database is refused.
    """
    from crocbot import store

    chosen = common.database_settings()
    url = _url(chosen)
    before, after = store.upgrade(url)
    if before == after:
        click.echo(f"the tables of {url} have version {after} already")
    else:
        click.echo(f"the tables of {url} were changed: version {before} to {after}")


@database_.command("move")
def database_move() -> None:
    """Copy what is in the SQLite file into the database, which must be empty.

    Only while no gateway runs with either.  All is copied, or nothing.  The file in
    CROCBOT_STATE_DIR stays as it is; no gateway may be started with it any more.
    """
    chosen = common.database_settings()
    _url(chosen)
    file = common.existing_file(chosen)
    moved = _move(chosen, file)
    for line in _report(chosen, file, moved):
        click.echo(line)


def _move(chosen: Settings, file: Path) -> Moved:
    """Copy the file while its directory is locked."""
    from crocbot import backup, database_move, state_dir, store
    from crocbot.service.schemas import SCHEMAS

    url = _url(chosen)
    with state_dir.locked(file.parent) as lock:
        unpacked = backup.unpacked(
            file, file.parent, SCHEMAS, orderly=lock.last_orderly
        )
        store.upgrade(url)
        with (
            unpacked as copy,
            store.opened(copy, SCHEMAS) as source,
            common.opened(chosen, SCHEMAS) as target,
        ):
            return database_move.move(
                source,
                target,
                file_time=store.load_clock(source).read(),
                now=store.load_clock(target).read().time,
            )


def _report(chosen: Settings, file: Path, moved: Moved) -> Iterator[str]:
    """Yield what was moved, and what the operator must know."""
    from crocbot import inbox

    yield f"moved: {file} to {chosen.postgresql}"
    for table, count in moved.counts.items():
        yield f"  {table}: {count}"
    yield f"the ledger is the same in both: {inbox.describe_ledger(moved.ledger)}"
    yield (
        f"{file} was not changed. Start no gateway with it any more: it would answer"
        " again what is open in it"
    )


def _url(chosen: Settings) -> DatabaseUrl:
    """Return the URL of the database; raise OperatorError if there is none."""
    if chosen.postgresql is None:
        raise OperatorError(
            "CROCBOT_DATABASE_URL is not set: the database is the SQLite file"
            f" {chosen.database}"
        )
    return chosen.postgresql
