"""
The command line to an exit code: 0 done or stopped as asked, 2 the operator must
change something, 1 anything else.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import click

from crocbot import inbox, log, pairing, service, store
from crocbot import settings as settings_module
from crocbot.errors import CrocbotError, InboxError, OperatorError
from crocbot.settings import Settings

if TYPE_CHECKING:
    from sqlite3 import Connection


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(service.VERSION, prog_name="crocbot")
def cli() -> None:
    """A Telegram gateway that loses nothing.

    Settings are environment variables, or lines in a file .env here:
    TELEGRAM_BOT_TOKEN and CROCBOT_ALLOW_FROM are the two to begin with.
    """


@cli.command()
def gateway() -> None:
    """Run the gateway until SIGTERM or Ctrl-C."""
    service.main(_settings())


@cli.command()
def check() -> int:
    """Look at settings, database, token and agent; change nothing."""
    return asyncio.run(_check(_settings()))


@cli.group("pairing")
def pairings() -> None:
    """Let in whom the bot told a code; a running gateway knows at once."""


@pairings.command("list")
def pairing_list() -> None:
    """Show who waits, and who is let in by a code."""
    now, found = time.time(), list[pairing.Pairing]()
    # Who only looks makes no file.
    if settings_module.load_database(os.environ).exists():
        with _pairings() as connection:
            found += pairing.listed(connection, now)
    for one in found:
        click.echo(pairing.describe(one, now))
    if not found:
        click.echo("nobody")


@pairings.command("approve")
@click.argument("code")
def pairing_approve(code: str) -> None:
    """Let in whom the bot told CODE."""
    with _pairings() as connection:
        user_id = pairing.approve(connection, code, time.time())
    if user_id is None:
        raise OperatorError(
            f"{code[:80]!r} is no code that waits: see crocbot pairing list;"
            " a code is good for one hour and for one approval"
        )
    click.echo(f"approved: user {user_id} is let in")


@pairings.command("revoke")
@click.argument("user_id", type=int)
def pairing_revoke(user_id: int) -> None:
    """Let USER_ID in no longer, or forget the code that waits."""
    with _pairings() as connection:
        known = pairing.revoke(connection, user_id)
    if not known:
        raise OperatorError(f"user {user_id} was not paired: see crocbot pairing list")
    click.echo(f"revoked: user {user_id} is not let in by a code any more")


def _pairings() -> AbstractContextManager[Connection]:
    file = settings_module.load_database(os.environ)
    return store.opened(file, [pairing.SCHEMA])


@cli.group("inbox", invoke_without_command=True)
@click.pass_context
def inbox_(context: click.Context) -> None:
    """Show what waits for an answer, and what failed.

    Failed rows, and those that could not be read, are kept for 48 hours.
    """
    if context.invoked_subcommand is None:
        with _inbox() as rows:
            state, waiting = rows.state(), rows.waiting(inbox.MOST_SHOWN)
            for line in inbox.describe(state, waiting, rows.failures(), time.time()):
                click.echo(line)


@inbox_.command("retry")
@click.argument("update_ids", metavar="[UPDATE]...", nargs=-1, type=int)
def inbox_retry(update_ids: tuple[int, ...]) -> None:
    """Try failed updates again: these, or all of them.

    A running gateway takes them up within two seconds, else the next one does.
    An answer that was not delivered is sent, nobody is asked again.
    """
    with _inbox() as rows:
        opened = rows.reopen(update_ids or None)
    click.echo(f"{opened} to be tried again")
    if opened < len(set(update_ids)):
        raise OperatorError("not all of these updates have failed: see crocbot inbox")


@contextmanager
def _inbox() -> Iterator[inbox.Database]:
    file = settings_module.load_database(os.environ)
    if not file.exists():
        raise OperatorError(f"CROCBOT_STATE_DIR: there is no inbox in {file.parent}")
    rows = inbox.Database(file, time.time)
    rows.open()
    try:
        yield rows
    except InboxError as error:
        raise OperatorError(f"{file} cannot be used as inbox: {error}") from error
    finally:
        rows.close()


@cli.command()
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    help="End after this time; else Ctrl-C does.",
)
def demo(seconds: float | None) -> int:
    """See it work: simulated people, gateway and bridge, no bot needed."""
    # Not at the top: the gateway has no use for a sandbox.
    from crocbot.sandbox import demo as play

    return play.run(seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; every error is one line, but for a bug."""
    log.configure("info", "console")
    try:
        return cli.main(arguments, standalone_mode=False) or 0
    except OperatorError as error:
        return _say(error, 2)
    except CrocbotError as error:
        return _say(error, 1)
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 1
    except Exception:
        log.logger(__name__).exception("bug, please report it")
        return 1


async def _check(settings: Settings) -> int:
    """A line for everything, as soon as it is known; what is wrong goes to stderr."""
    code = 0
    async for found in service.check(settings):
        if found.passed:
            click.echo(f"ok: {found.name}: {found.text}")
        else:
            code = _say(f"{found.name}: {found.text}", 2)
    return code


def _say(error: object, code: int) -> int:
    click.echo(f"crocbot: {error}", err=True)
    return code


def _settings() -> Settings:
    """Load the settings and let the logs obey them."""
    settings, warnings = settings_module.load(os.environ)
    log.configure(settings.log_level, settings.log_format, secrets=settings.secrets)
    for warning in warnings:
        log.logger(__name__).warning(warning)
    return settings
