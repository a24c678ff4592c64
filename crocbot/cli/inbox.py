"""`crocbot inbox`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import click

from crocbot.cli import common, since
from crocbot.errors import OperatorError

if TYPE_CHECKING:
    from crocbot.inbox import FailureFilter
    from crocbot.store import Connection

Command = Callable[..., Any]


def _reason(text: str | None) -> str | None:
    """Return a reason; raise BadParameter for an empty one, which all would match."""
    if text is None or text.strip():
        return text
    raise click.BadParameter("it is empty: leave the option out for every reason.")


def _filters(command: Command) -> Command:
    """Add the ids and filters that choose failed rows."""
    for add in (
        click.option(
            "--chat", type=click.IntRange(-common.MAX_ID, common.MAX_ID), metavar="ID"
        ),
        click.option(
            "--since",
            callback=lambda _, __, text: None if text is None else since.seconds(text),
            metavar="TIME",
            help="Closed in the last 30min, 2h or 1d, or after 2026-01-31T12:00.",
        ),
        click.option(
            "--reason",
            callback=lambda _, __, text: _reason(text),
            metavar="TEXT",
            help="The reason contains TEXT.",
        ),
        click.argument(
            "update_ids",
            metavar="[UPDATE]...",
            nargs=-1,
            type=click.IntRange(0, common.MAX_ID),
        ),
    ):
        command = add(command)
    return command


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
@_filters
def inbox_retry(update_ids: tuple[int, ...], **filters: Any) -> None:
    """Retry failed updates: those with these ids, or all.

    With --reason, --since and --chat, only those that match each of them.
    A running gateway retries them within two seconds, a stopped one at its start.
    An undelivered answer is sent again, without another prompt to the agent.
    """
    from crocbot import inbox
    from crocbot.model import Disposition

    failed = frozenset({Disposition.FAILED})
    with _inbox() as connection:
        wanted = _wanted(connection, update_ids, **filters)
        chosen = inbox.select(connection, wanted, failed)
        ids = [each.update_id for each in chosen]
        reopen = inbox.reopen_shared if common.shares_database() else inbox.reopen
        opened = reopen(connection, ids)
    click.echo(f"reopened: {opened}")
    if opened < len(set(update_ids)):
        raise OperatorError(
            f"not all of these updates have failed{_and_match(filters)}:"
            " see crocbot inbox"
        )


@inbox_.command("drop")
@_filters
@click.option("--yes", is_flag=True, help="Drop them without asking.")
def inbox_drop(update_ids: tuple[int, ...], yes: bool, **filters: Any) -> None:
    """Drop failed updates and those set aside: with these ids, or all.

    With --reason, --since and --chat, only those that match each of them.
    Their content is deleted and the ledger counts them as cancelled.  Open rows are
    never dropped.  This works also while the gateway runs.
    """
    from crocbot import inbox, store

    with _inbox() as connection:
        wanted = _wanted(connection, update_ids, **filters)
        chosen = inbox.select(connection, wanted)
        now = store.load_clock(connection).read().time
    ids = [each.update_id for each in chosen]
    if len(ids) < len(set(update_ids)):
        raise OperatorError(
            "not all of these updates have failed or were set aside"
            f"{_and_match(filters)}: see crocbot inbox"
        )
    # Asked outside of the transaction, for which a running gateway would wait.
    if ids and not yes:
        for line in inbox.describe_failures(chosen, now):
            click.echo(line)
        common.confirm(f"Drop {len(ids)} rows?", flag="--yes")
    with _inbox() as connection:
        dropped = inbox.drop(connection, ids)
    click.echo(f"dropped: {dropped}, counted as cancelled")


def _wanted(
    connection: Connection,
    update_ids: tuple[int, ...],
    *,
    reason: str | None,
    since: float | None,
    chat: int | None,
) -> FailureFilter:
    from crocbot import inbox, store

    now = store.load_clock(connection).read().time
    return inbox.FailureFilter(
        reason=reason,
        closed_after=None if since is None else now - since,
        chat_id=chat,
        update_ids=frozenset(update_ids) or None,
    )


def _and_match(filters: dict[str, Any]) -> str:
    return " and match" if any(each is not None for each in filters.values()) else ""


def _inbox() -> AbstractContextManager[Connection]:
    from crocbot import inbox

    return common.opened(common.database_settings(), [inbox.SCHEMA])
