"""What commands share: settings, the database, errors in one line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from crocbot.errors import OperatorError

# Of an update or a user: what SQLite can store.
MAX_ID = 2**63 - 1

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from crocbot.settings import Settings
    from crocbot.store import Connection

Result = TypeVar("Result")


def run_async(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end in an event loop of its own."""
    import asyncio

    return asyncio.run(work)


def fail(error: object, code: int) -> int:
    """Print an error in one line and return the exit code."""
    click.echo(f"crocbot: {error}", err=True)
    return code


def database_settings() -> Settings:
    """Return settings of which the state directory and the database may be used."""
    from crocbot import settings

    return settings.load_only(os.environ, settings.STATE_DIR, settings.DATABASE_URL)


def existing_file(chosen: Settings) -> Path:
    """Return the SQLite file; raise OperatorError if no gateway ran with it."""
    from crocbot import state_dir

    file = chosen.database
    if not state_dir.exists(file):
        raise OperatorError(f"CROCBOT_STATE_DIR: there is no inbox in {file.parent}")
    return file


def opened(
    chosen: Settings, schemas: Sequence[str]
) -> AbstractContextManager[Connection]:
    """Open the database for one transaction; raise OperatorError if there is none."""
    from crocbot import store

    if chosen.postgresql is not None:
        return store.opened_postgresql(chosen.postgresql)
    return store.opened(existing_file(chosen), schemas)


def shares_database() -> bool:
    """Return whether the settings name a database that replicas share."""
    return database_settings().postgresql is not None


def gateway_runs(chosen: Settings, connection: Connection) -> bool:
    """Return whether a gateway works on the database, on any machine."""
    from crocbot import state_dir
    from crocbot.replicas import report

    if chosen.postgresql is not None:
        return bool(report.find(connection).names)
    return state_dir.is_locked(chosen.state_dir)


def is_terminal() -> bool:
    """Return whether there is a terminal to ask in."""
    streams = (sys.stdin, sys.stdout)
    return all(stream is not None and stream.isatty() for stream in streams)


def confirm(question: str, *, flag: str) -> None:
    """Ask in the terminal; raise Abort for no, OperatorError without a terminal."""
    if not is_terminal():
        raise OperatorError(f"{question} There is no terminal to ask in: give {flag}")
    try:
        click.confirm(question, default=False, abort=True)
    except click.Abort:
        click.echo("crocbot: ended; nothing was changed", err=True)
        raise


def load_settings() -> Settings:
    """Load the settings and configure the logs by them."""
    from crocbot import log, settings

    loaded, warnings = settings.load(os.environ)
    log.configure(loaded.log_level, loaded.log_format, secrets=loaded.secrets)
    for warning in warnings:
        log.logger(__name__).warning(warning)
    return loaded
