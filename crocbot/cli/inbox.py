"""`crocbot inbox`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import click

from crocbot.cli import common
from crocbot.errors import OperatorError

if TYPE_CHECKING:
    from sqlite3 import Connection


@click.group("inbox", invoke_without_command=True)
@click.pass_context
def inbox_(context: click.Context) -> None:
    """Show open rows, the ledger, and failed rows.

    Failed rows, and rows that were set aside, are kept for 48 hours.
    """
    from crocbot import inbox, store

    if context.invoked_subcommand is not None:
        return
    with _inbox() as connection:
        now = store.load_clock(connection).read().time
        lines = list(inbox.describe(connection, now))
    # Outside, since an error of the output is none of the file.
    for line in lines:
        click.echo(line)


@inbox_.command("retry")
@click.argument(
    "update_ids", metavar="[UPDATE]...", nargs=-1, type=click.IntRange(0, common.MAX_ID)
)
def inbox_retry(update_ids: tuple[int, ...]) -> None:
    """Retry the failed updates with these ids, or all failed updates.

    A running gateway retries them within two seconds, a stopped one at its start.
    An undelivered answer is sent again, without another prompt to the agent.
    """
    from crocbot import inbox

    with _inbox() as connection:
        opened = inbox.reopen(connection, update_ids or None)
    click.echo(f"reopened: {opened}")
    if opened < len(set(update_ids)):
        raise OperatorError("not all of these updates have failed: see crocbot inbox")


def _inbox() -> AbstractContextManager[Connection]:
    from crocbot import inbox, store

    return store.opened(common.existing_database(), [inbox.SCHEMA])
