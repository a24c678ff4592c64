"""`crocbot backup` and `crocbot restore`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from crocbot.cli import common
from crocbot.errors import OperatorError
from crocbot.text import printable

ON_POSTGRESQL = "the database is on PostgreSQL, which has a program for that"
FILE = click.Path(path_type=Path)


def _quoted(word: object) -> str:
    """Return a word as a shell reads it, in one line."""
    return shlex.quote(printable(str(word)))


@click.command()
@click.argument("file", type=FILE)
@click.option("--force", is_flag=True, help="Replace a FILE that exists.")
def backup(file: Path, force: bool) -> None:
    """Copy the inbox, conversations and pairings to FILE.

    The copy is consistent also while the gateway runs; it has mode 600 and is checked.
    """
    from crocbot import backup as backups

    chosen = common.database_settings()
    if (url := chosen.postgresql) is not None:
        raise OperatorError(
            f"{ON_POSTGRESQL}: pg_dump --format=custom --file={_quoted(file)}"
            f" {_quoted(url.for_programs)}"
        )
    database = common.existing_file(chosen)
    if file.is_file() and not force and common.is_terminal():
        common.confirm(f"Replace {file}?", flag="--force")
        force = True
    backups.copy(database, file, replace=force)
    click.echo(f"backed up: {database} to {file}, {file.stat().st_size} bytes")


@click.command()
@click.argument("file", type=FILE)
@click.option("--yes", is_flag=True, help="Restore without asking.")
def restore(file: Path, yes: bool) -> None:
    """Replace the inbox, conversations and pairings by those of FILE.

    Only while no gateway runs.  Shows the open rows, which the next start answers
    again, and asks.  The replaced database is kept beside the new one.
    """
    from crocbot import backup as backups
    from crocbot import inbox, pushed, state_dir, store

    chosen = common.database_settings()
    if (url := chosen.postgresql) is not None:
        raise OperatorError(
            f"{ON_POSTGRESQL}; stop all gateways, then: pg_restore --clean --if-exists"
            " --no-owner --single-transaction"
            f" --dbname={_quoted(url.for_programs)} {_quoted(file)}"
        )
    database = chosen.database
    # Before the lock, which makes the state directory.
    backups.require_backup(file)
    if database.exists() and database.samefile(file):
        raise OperatorError(f"{file} is the database itself, not a backup")
    schemas = [inbox.SCHEMA, pushed.SCHEMA]
    with (
        state_dir.locked(database.parent),
        backups.unpacked(file, database.parent, schemas) as draft,
    ):
        with store.opened(draft, schemas) as connection:
            now = store.load_clock(connection).read().time
            lines = list(inbox.describe_open(connection, now))
            totals = next(pushed.describe(connection, now))
        lines.append(f"messages of crocbot send: {totals}")
        click.echo("the next start answers what is open in the backup, also again:")
        for line in lines:
            click.echo(line)
        if not yes:
            common.confirm(f"Restore {file} to {database}?", flag="--yes")
        kept = backups.install(draft, database)
    click.echo(f"restored: {database}")
    if kept is not None:
        click.echo(f"the replaced database is {kept}")
