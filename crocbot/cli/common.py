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
    from collections.abc import Coroutine
    from typing import Any

    from crocbot.settings import Settings

Result = TypeVar("Result")


def run_async(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end in an event loop of its own."""
    import asyncio

    return asyncio.run(work)


def fail(error: object, code: int) -> int:
    """Print an error in one line and return the exit code."""
    click.echo(f"crocbot: {error}", err=True)
    return code


def existing_database() -> Path:
    """Return the file; raise OperatorError if the gateway never ran with it."""
    from crocbot import settings, state_dir

    file = settings.load_only(os.environ, settings.STATE_DIR).database
    if not state_dir.exists(file):
        raise OperatorError(f"CROCBOT_STATE_DIR: there is no inbox in {file.parent}")
    return file


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
