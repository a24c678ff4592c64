"""`crocbot pairing`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import click

from crocbot.cli import common
from crocbot.errors import OperatorError

if TYPE_CHECKING:
    from crocbot.store import Connection


@click.group("pairing")
def pairings() -> None:
    """Approve users by their pairing codes, also while the gateway runs."""


@pairings.command("list")
def pairing_list() -> None:
    """List users with a pending code, and approved users."""
    from crocbot import pairing, store

    with _pairings() as connection:
        now = store.load_clock(connection).read().time
        lines = [
            pairing.describe(each, now) for each in pairing.listed(connection, now)
        ]
    for line in lines:
        click.echo(line)
    if not lines:
        click.echo("no pairings")


@pairings.command("approve")
@click.argument("code")
def pairing_approve(code: str) -> None:
    """Approve the user who has CODE."""
    from crocbot import pairing, store

    with _pairings() as connection:
        now = store.load_clock(connection).read()
        # What is not UTF-8 on the command line cannot be a text in SQLite.
        word = code.encode("ascii", "replace").decode()
        user_id = pairing.approve(connection, word, now.time, approved_at=now.wall)
    if user_id is None:
        raise OperatorError(
            f"{code[:80]!r} is not a pending code: see crocbot pairing list;"
            " a code is valid for one hour and for one approval"
        )
    click.echo(f"approved: user {user_id}")


@pairings.command("revoke")
@click.argument("user_id", type=click.IntRange(1, common.MAX_ID))
def pairing_revoke(user_id: int) -> None:
    """Revoke the approval, or the pending code, of USER_ID."""
    from crocbot import pairing

    with _pairings() as connection:
        known = pairing.revoke(connection, user_id)
    if not known:
        raise OperatorError(f"user {user_id} was not paired: see crocbot pairing list")
    click.echo(f"revoked: user {user_id}")


def _pairings() -> AbstractContextManager[Connection]:
    from crocbot import pairing

    return common.opened(common.database_settings(), [pairing.SCHEMA])
