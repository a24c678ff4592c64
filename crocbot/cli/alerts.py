"""`crocbot alerts`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from crocbot.cli import common
from crocbot.errors import OperatorError

if TYPE_CHECKING:
    from crocbot.settings import Settings


@click.group("alerts")
def alerts_() -> None:
    """Alerts in a chat or by a webhook, without Prometheus."""


@alerts_.command("test")
def alerts_test() -> int:
    """Send a test to the chat and the webhook that are set.

    Exit code 0: all were sent.  1: one cannot be reached.  2: one refuses it, or none
    is set.
    """
    import asyncio

    return asyncio.run(_test(common.load_settings()))


async def _test(settings: Settings) -> int:
    """Print a line for each way; failures go to stderr."""
    from crocbot import log
    from crocbot.alerts import TryStatus, try_ways

    code, any_way = 0, False
    redactor = log.Redactor(settings.secrets)
    async for result in try_ways(settings):
        any_way = True
        line = f"{result.way}: {redactor.redact(result.text)}"
        match result.status:
            case TryStatus.SENT:
                click.echo(f"ok: {line}")
            case TryStatus.UNREACHABLE:
                code = max(code, common.fail(line, 1))
            case TryStatus.REFUSED:
                code = common.fail(line, 2)
    if not any_way:
        raise OperatorError(
            "neither CROCBOT_ALERT_CHAT nor CROCBOT_ALERT_WEBHOOK is set"
        )
    return code
