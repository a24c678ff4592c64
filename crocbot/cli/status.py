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

    from crocbot.settings import Settings
    from crocbot.store import Connection

MAX_LINES = 500
MAX_LINE_CHARS = 300


@click.command()
def status() -> int:
    """Show the running gateway, its metrics, and its inbox.

    It asks the gateway at CROCBOT_HEALTH_ADDRESS and reads the database.  Exit code 1:
    no gateway runs, or it is not ready.
    """
    from crocbot import state_dir

    chosen = common.database_settings()
    folder, shares = chosen.state_dir, chosen.postgresql is not None
    # First: of a directory of another user it is not known whether a gateway runs.
    exists = state_dir.exists(chosen.database)
    code = 0
    if state_dir.is_locked(folder):
        try:
            code = _show_gateway(folder)
        except CrocbotError as error:
            code = common.fail(error, 2 if isinstance(error, OperatorError) else 1)
    elif not shares:
        code = common.fail(f"no gateway runs in {folder}", 1)
    if shares:
        code = max(code, _show_replicas(chosen))
    elif exists:
        _show_database(chosen)
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


def _show_database(chosen: Settings) -> None:
    """Print the totals of the database."""
    from crocbot import inbox, pushed

    with common.opened(chosen, [inbox.SCHEMA, pushed.SCHEMA]) as connection:
        lines = _totals(connection)
    # Outside, since an error of the output is none of the database.
    for line in lines:
        click.echo(line)


def _show_replicas(chosen: Settings) -> int:
    """Print the replicas and the totals of their database; return the exit code."""
    from crocbot.replicas import report

    with common.opened(chosen, []) as connection:
        found, lines = report.find(connection), _totals(connection)
    for line in (*found.describe(), *lines):
        click.echo(line)
    return 0 if found.names else 1


def _totals(connection: Connection) -> list[str]:
    """Return lines about the inbox, the ledger, failed rows and sent messages."""
    from crocbot import inbox, pushed, store

    now = store.load_clock(connection).read().time
    lines = list(inbox.describe(connection, now))
    totals = next(pushed.describe(connection, now))
    # Without the lines about single rows, which `crocbot inbox` shows.
    shown = [line for line in lines if not line.startswith(" ")]
    return [*shown, f"messages of crocbot send: {totals}"]


def _printable(text: str) -> str:
    from crocbot.text import printable

    return printable(text)[:MAX_LINE_CHARS]
