"""
The command line: commands to exit codes.

    0  done, or stopped as asked
    2  the operator must change something
    1  anything else

Each command imports what it needs when it runs: `--help` is quick, and needs no extra.
"""

from __future__ import annotations

import errno
import math
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crocbot.errors import CrocbotError, OperatorError, is_missing_library

STDOUT = 1
# Of an update or a user: what SQLite can store.
MAX_ID = 2**63 - 1
# What a write to a full disk or a terminal that is gone raises; no other part of a
# command lets them through.
OUTPUT_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

if TYPE_CHECKING:
    from sqlite3 import Connection

    from crocbot.settings import Settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="crocbot", prog_name="crocbot")
def cli() -> None:
    """A Telegram gateway that loses no message.

    Settings are environment variables, or lines in a file .env in the working
    directory; begin with TELEGRAM_BOT_TOKEN and CROCBOT_ALLOW_FROM.
    """


@cli.command()
def gateway() -> None:
    """Run the gateway until SIGTERM or Ctrl-C."""
    from crocbot import service

    service.main(_settings())


@cli.command()
def check() -> int:
    """Test settings, database, token, agent and metrics; change nothing.

    Exit code 0: all is well, also with warnings.  1: the network or a server is not
    there.  2: something must be changed.
    """
    import asyncio

    return asyncio.run(_check(_settings()))


@cli.group("pairing")
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
@click.argument("user_id", type=click.IntRange(1, MAX_ID))
def pairing_revoke(user_id: int) -> None:
    """Revoke the approval, or the pending code, of USER_ID."""
    from crocbot import pairing

    with _pairings() as connection:
        known = pairing.revoke(connection, user_id)
    if not known:
        raise OperatorError(f"user {user_id} was not paired: see crocbot pairing list")
    click.echo(f"revoked: user {user_id}")


def _pairings() -> AbstractContextManager[Connection]:
    from crocbot import pairing, store

    return store.opened(_existing_database(), [pairing.SCHEMA])


@cli.group("inbox", invoke_without_command=True)
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
    "update_ids", metavar="[UPDATE]...", nargs=-1, type=click.IntRange(0, MAX_ID)
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

    return store.opened(_existing_database(), [inbox.SCHEMA])


@cli.command()
def mapping() -> None:
    """Print the mapping file for the bridge, or for statsd_exporter."""
    file = Path(__file__).with_name("mapping.yml")
    click.echo(file.read_bytes(), nl=False)


@cli.command()
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    callback=lambda _, __, seconds: _finite(seconds),
    help="End after this time; else Ctrl-C does.",
)
def demo(seconds: float | None) -> int:
    """Run gateway and bridge with simulated users; needs no bot."""
    if find_spec("twisted") is None:
        # The bridge, which runs as a process of its own, needs it.
        raise ModuleNotFoundError(name="twisted")
    from crocbot import log
    from crocbot.sandbox import demo as sandbox_demo

    log.configure("info", "console")
    return sandbox_demo.run(seconds)


def _finite(seconds: float | None) -> float | None:
    """Return a number of seconds unless it is nan or inf."""
    if seconds is not None and not math.isfinite(seconds):
        raise click.BadParameter(f"{seconds} is not a number of seconds.")
    return seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; every error is one line, except a bug."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return cli.main(arguments, standalone_mode=False) or 0
    except CrocbotError as error:
        return _fail(error, 2 if isinstance(error, OperatorError) else 1)
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 1
    except Exception as error:
        return _report(error, arguments)


def _report(error: Exception, arguments: Sequence[str]) -> int:
    """Report an exception of a library, or a bug; return the exit code."""
    if is_missing_library(error):
        click.echo(_missing_extra(arguments), err=True)
        return 2
    if isinstance(error, OSError) and error.errno in OUTPUT_ERRORS:
        # Python would try to write the rest at its exit, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
        return _fail(f"the output cannot be written: {error.strerror}", 1)
    from crocbot import log

    if not log.is_configured():
        log.configure("info", "console")
    log.logger(__name__).error("bug, please report it", exc_info=error)
    return 1


def _missing_extra(arguments: Sequence[str]) -> str:
    """Return what to install for a command."""
    command = next((word for word in arguments if not word.startswith("-")), "")
    if command == "demo":
        extras, install = 'extras "gateway" and "bridge"', "gateway,bridge"
    else:
        extras, install = 'extra "gateway"', "gateway"
    return f"crocbot {command} needs the {extras}: pip install 'crocbot[{install}]'"


async def _check(settings: Settings) -> int:
    """Print a line for each result as soon as it is known; failures go to stderr."""
    from crocbot import service
    from crocbot.service import CheckStatus

    code = 0
    async for result in service.check(settings):
        line = f"{result.name}: {result.text}"
        match result.status:
            case CheckStatus.OK:
                click.echo(f"ok: {line}")
            case CheckStatus.WARNING:
                click.echo(f"warning: {line}")
            case CheckStatus.UNREACHABLE:
                code = max(code, _fail(line, 1))
            case CheckStatus.INVALID:
                code = _fail(line, 2)
    return code


def _fail(error: object, code: int) -> int:
    """Print an error in one line and return the exit code."""
    click.echo(f"crocbot: {error}", err=True)
    return code


def _existing_database() -> Path:
    """Return the file; raise OperatorError if the gateway never ran with it."""
    from crocbot import settings, state_dir

    file = settings.load_only(os.environ, settings.STATE_DIR).database
    if not state_dir.exists(file):
        raise OperatorError(f"CROCBOT_STATE_DIR: there is no inbox in {file.parent}")
    return file


def _settings() -> Settings:
    """Load the settings and configure the logs by them."""
    from crocbot import log, settings

    loaded, warnings = settings.load(os.environ)
    log.configure(loaded.log_level, loaded.log_format, secrets=loaded.secrets)
    for warning in warnings:
        log.logger(__name__).warning(warning)
    return loaded
