"""`crocbot usage`."""

from __future__ import annotations

import click

from crocbot.cli import common


@click.command()
def usage() -> None:
    """Show what the answers to each person took, since the database was made.

    Tokens, costs by CROCBOT_PRICES, and the share of each, the greatest first.
    """
    from crocbot import spending

    with common.opened(common.database_settings(), [spending.SCHEMA]) as connection:
        whole = spending.total(connection)
        lines = [spending.describe(each, whole) for each in spending.listed(connection)]
        if lines:
            lines.append(spending.describe(whole, whole))
    for line in lines or ["no answers counted yet"]:
        click.echo(line)
