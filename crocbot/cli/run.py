"""`crocbot gateway`, `check`, `mapping` and `demo`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crocbot.cli import common

if TYPE_CHECKING:
    from crocbot.settings import Settings


@click.command()
@click.option("--sandbox", "sandbox", hidden=True)
def gateway(sandbox: str | None) -> None:
    """Run the gateway until SIGTERM or Ctrl-C."""
    from crocbot import service

    if sandbox is None:
        service.main(common.load_settings())
    else:
        service.main(_sandbox_settings(json.loads(sandbox)))


def _sandbox_settings(fixed: Mapping[str, str]) -> Settings:
    """Return the settings of a gateway of the demo, with the agent that is set."""
    from crocbot import log, settings

    loaded = settings.load_for_sandbox(os.environ, settings.AGENT_SETTINGS, fixed)
    log.configure(loaded.log_level, loaded.log_format, secrets=loaded.secrets)
    return loaded


@click.command()
def check() -> int:
    """Test settings, database, token, agent and metrics; change nothing.

    Exit code 0: all is well, also with warnings.  1: the network or a server is not
    there.  2: something must be changed.
    """
    import asyncio

    return asyncio.run(print_checks(common.load_settings()))


@click.command()
def mapping() -> None:
    """Print the mapping file for the bridge, or for statsd_exporter."""
    file = Path(__file__).parents[1] / "mapping.yml"
    click.echo(file.read_bytes(), nl=False)


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    callback=lambda _, __, seconds: _finite(seconds),
    help="End after this time; else Ctrl-C does.",
)
def demo(seconds: float | None) -> int:
    """Run gateway and bridge with simulated users; needs no bot.

    With CROCBOT_AGENT that agent answers, and what it says is not judged.
    """
    if find_spec("twisted") is None:
        # The bridge, which runs as a process of its own, needs it.
        raise ModuleNotFoundError(name="twisted")
    from crocbot import log
    from crocbot.sandbox import demo as sandbox_demo

    log.configure("info", "console")
    return sandbox_demo.run(seconds, _own_agent())


def _own_agent() -> str | None:
    """Return the agent that is set, unless it is the echo.  Raise OperatorError."""
    from crocbot import settings

    if "CROCBOT_AGENT" not in settings.names_set(os.environ):
        return None
    # What is wrong is one line now, and not the end of a child.
    fixed = {"TELEGRAM_BOT_TOKEN": "0:none"}
    loaded = settings.load_for_sandbox(os.environ, settings.AGENT_SETTINGS, fixed)
    return None if loaded.agent == "echo" else str(loaded.agent)


def _finite(seconds: float | None) -> float | None:
    """Return a number of seconds unless it is nan or inf."""
    if seconds is not None and not math.isfinite(seconds):
        raise click.BadParameter(f"{seconds} is not a number of seconds.")
    return seconds


async def print_checks(settings: Settings) -> int:
    """
    Print a line for each result as soon as it is known; return the exit code.

    Failures go to standard error.
    """
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
                code = max(code, common.fail(line, 1))
            case CheckStatus.INVALID:
                code = common.fail(line, 2)
    return code
