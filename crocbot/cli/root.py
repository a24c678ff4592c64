"""All commands, and what becomes of their errors."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

import click

from crocbot.cli import (
    alerts,
    backup,
    chat,
    common,
    database,
    inbox,
    init,
    pairings,
    run,
    send,
    status,
    usage,
)
from crocbot.errors import CrocbotError, OperatorError, is_missing_library

STDOUT = 1
# What a write to a full disk or a terminal that is gone raises; no other part of a
# command lets them through.
OUTPUT_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="crocbot", prog_name="crocbot")
def cli() -> None:
    """A Telegram gateway that loses no message.

    Begin with crocbot init, which asks for what it needs and writes .env.

    Settings are environment variables, or lines in a file .env in the working
    directory; a gateway needs TELEGRAM_BOT_TOKEN and CROCBOT_ALLOW_FROM.
    """


for command in (
    run.gateway,
    run.check,
    run.demo,
    chat.chat,
    init.init,
    run.mapping,
    inbox.inbox_,
    backup.backup,
    backup.restore,
    database.database_,
    status.status,
    pairings.pairings,
    send.send,
    alerts.alerts_,
    usage.usage,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; every error is one line, except a bug."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return cli.main(arguments, standalone_mode=False) or 0
    except CrocbotError as error:
        return common.fail(error, 2 if isinstance(error, OperatorError) else 1)
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
        return common.fail(f"the output cannot be written: {error.strerror}", 1)
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
