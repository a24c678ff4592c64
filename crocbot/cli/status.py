"""`crocbot status`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from crocbot.cli import common
from crocbot.errors import CrocbotError, OperatorError

if TYPE_CHECKING:
    from pathlib import Path

MAX_LINES = 500
MAX_LINE_CHARS = 300


@click.command()
def status() -> int:
    """Show the running gateway, its metrics, and its inbox.

    It asks the gateway at CROCBOT_HEALTH_ADDRESS and reads the database.  Exit code 1:
    no gateway runs, or it is not ready.
    """
    from crocbot import settings, state_dir

    database = settings.load_only(os.environ, settings.STATE_DIR).database
    # First: of a directory of another user it is not known whether a gateway runs.
    exists = state_dir.exists(database)
    code = 0
    if state_dir.is_locked(database.parent):
        try:
            code = _show_gateway(database.parent)
        except CrocbotError as error:
            code = common.fail(error, 2 if isinstance(error, OperatorError) else 1)
    else:
        code = common.fail(f"no gateway runs in {database.parent}", 1)
    if exists:
        for line in _describe(database):
            click.echo(line)
    return code


def _show_gateway(folder: Path) -> int:
    """Print what the gateway says of itself; return the exit code."""
    from crocbot import settings
    from crocbot.health import request

    name = settings.HEALTH_ADDRESS
    address = settings.load_only(os.environ, name).health_address
    if address is None:
        click.echo(f"a gateway runs in {folder}; {name} is off, so it shows no more")
        return 0
    try:
        _, page = request.get(address, "/status")
        code, conditions = request.get(address, "/readyz")
    except request.NoAnswerError as error:
        raise CrocbotError(f"a gateway runs in {folder}; {error}: see {name}") from None
    for line in _lines(_read(page, folder, str(address))):
        click.echo(line)
    if code == 200:
        return 0
    for line in conditions.decode(errors="replace").splitlines()[:MAX_LINES]:
        common.fail(_printable(line), 1)
    return 1


def _read(page: bytes, folder: Path, address: str) -> Mapping[str, Any]:
    """Return the page of the gateway of a state directory; raise CrocbotError."""
    from crocbot.state_dir import identity

    try:
        found = json.loads(page)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or "state" not in found:
        raise CrocbotError(f"what answers at {address} is no gateway of this version")
    if found["state"] != identity(folder):
        raise CrocbotError(
            f"a gateway runs in {folder}, but another one answers at {address}:"
            " give each an address of its own"
        )
    return found


def _lines(page: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a page says, as printable lines."""
    lines, metrics = page.get("lines"), page.get("metrics")
    if not lines:
        yield "Telegram was not reached yet"
    for line in lines[:MAX_LINES] if isinstance(lines, list) else []:
        yield _printable(str(line))
    series = list(metrics.items()) if isinstance(metrics, dict) else []
    for name, value in series[:MAX_LINES]:
        if isinstance(value, int | float) and math.isfinite(value):
            yield f"{_printable(name)} {value:.15g}"


def _describe(database: Path) -> Iterator[str]:
    """Yield the totals of the database: inbox, ledger, failed rows, sent messages."""
    from crocbot import inbox, pushed, store

    with store.opened(database, [inbox.SCHEMA, pushed.SCHEMA]) as connection:
        now = store.load_clock(connection).read().time
        lines = list(inbox.describe(connection, now))
        totals = next(pushed.describe(connection, now))
    # Without the lines about single rows, which `crocbot inbox` shows.
    yield from (line for line in lines if not line.startswith(" "))
    yield f"messages of crocbot send: {totals}"


def _printable(text: str) -> str:
    from crocbot.text import printable

    return printable(text)[:MAX_LINE_CHARS]
