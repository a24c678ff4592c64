"""
Subcommands that ask a running bridge, or look at a mapping file.

They share one form: `--json`; exit code 0 the same or clean, 1 a difference or a
finding, 2 cannot (file, address, answer).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click

from statsd_bridge.errors import BridgeError

MAX_MAPPING_BYTES = 1024 * 1024
"""Size of a mapping file that a bridge tries."""

MAX_COMPARE_MINUTES = 7 * 24 * 60

Command = TypeVar("Command", bound=Callable[..., Any])

VALUE_FLAGS = frozenset(
    {
        *("--against", "--bridge", "--theirs", "--ours", "--minutes"),
        *("--user", "--password-file", "--ca-file"),
    }
)
"""Flags whose next argument is their value."""

_json = click.option("--json", "is_json", is_flag=True, help="Print a JSON object.")


def _server_options(command: Command) -> Command:
    """Add the options for the server of a bridge."""
    for name, help in (
        ("--ca-file", "Certificates in PEM that prove the bridge's, for https."),
        ("--password-file", "File with the password of --user."),
        ("--user", "User of --web.config.file; the URL may also have user:password@."),
    ):
        metavar = "NAME" if name == "--user" else "FILE"
        command = click.option(name, default="", metavar=metavar, help=help)(command)
    return command


@click.command("try")
@click.option(
    "--against", required=True, metavar="URL", help="Bridge, such as http://host:9102."
)
@_server_options
@_json
@click.argument("file", metavar="FILE")
def try_command(
    *,
    against: str,
    file: str,
    user: str,
    password_file: str,
    ca_file: str,
    is_json: bool,
) -> int:
    """
    Tell what a mapping file would do to the names that a running bridge has seen.

    Nothing changes there.  Exit code 0 if each name stays what it is, 1 if one changes,
    2 if that cannot be found out.
    """
    from statsd_bridge import fetch, trial_report

    server = fetch.find_server(
        "against", against, user=user, password_file=password_file, ca_file=ca_file
    )
    text = _read_mapping(file)
    # The name is for messages only.
    path = f"/api/v1/try?file={quote(file[-256:], safe='')}"
    document = fetch.fetch_json(server, path, text)
    report = trial_report.read(document)
    if report is None:
        raise server.error("the answer is not that of a trial: another version?")
    if report.error is not None:
        raise BridgeError(report.error)
    click.echo(json.dumps(document) if is_json else report.as_text(), nl=is_json)
    return int(not report.is_clean)


def _read_mapping(file: str) -> bytes:
    try:
        with Path(file).open("rb") as opened:
            text = opened.read(MAX_MAPPING_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BridgeError(f"{file}: cannot be read: {reason}") from error
    if len(text) > MAX_MAPPING_BYTES:
        raise BridgeError(f"{file}: has more than 1 MiB, which a bridge does not try")
    return text


@click.command("suggest")
@click.option(
    "--bridge", required=True, metavar="URL", help="Bridge, such as http://host:9102."
)
@_server_options
@_json
def suggest_command(
    *, bridge: str, user: str, password_file: str, ca_file: str, is_json: bool
) -> int:
    """
    Print rules for the names that a running bridge has seen and no rule matches.

    Exit code 0 if there is no such name, 1 if there are some, 2 if that cannot be found
    out.
    """
    from statsd_bridge import fetch, suggest

    server = fetch.find_server(
        "bridge", bridge, user=user, password_file=password_file, ca_file=ca_file
    )
    names = suggest.read_names(fetch.fetch_json(server, "/debug/unmapped"))
    if names is None:
        raise server.error("the answer has no list of unmapped names: another version?")
    found = suggest.suggest(names)
    by_name = suggest.by_name(found)
    without = [name for name, type in names if (name, type) not in by_name]
    if is_json:
        click.echo(json.dumps({"rules": suggest.as_json(found), "without": without}))
    elif not names:
        click.echo("no name is without a rule")
    else:
        click.echo(suggest.as_yaml(found), nl=False)
        for name in without:
            click.echo(f"# no rule: the name is too long: {json.dumps(name)}")
    return int(bool(names))


@click.command("lint")
@_json
@click.argument("file", metavar="FILE")
def lint_command(*, file: str, is_json: bool) -> int:
    """
    Print what is likely a mistake in a mapping file, although it loads.

    Exit code 0 if there is nothing, 1 if there is something, 2 if the file cannot be
    read or is refused.
    """
    from statsd_bridge import mapping
    from statsd_bridge.lint import lint

    report = lint(mapping.load(file), file)
    if is_json:
        click.echo(json.dumps(report.as_json()))
    elif report.findings:
        click.echo(report.as_text(), nl=False)
    else:
        click.echo(f"clean: {report.rules} rules")
    return int(bool(report.findings))


@click.command("compare")
@click.option(
    "--theirs",
    required=True,
    metavar="URL",
    help="Page of statsd_exporter, such as http://exporter:9102/metrics; a user and a"
    " password may be in it.",
)
@click.option(
    "--ours",
    default="http://127.0.0.1:9102/metrics",
    show_default=True,
    metavar="URL",
    help="Page of the bridge that gets the same lines.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0, MAX_COMPARE_MINUTES, min_open=True),
    default=5.0,
    show_default=True,
    help="How long both are watched, nine seconds or more.",
)
@click.option("--ca-file", default="", metavar="FILE", help="As for try, for https.")
@_json
def compare_command(
    *, theirs: str, ours: str, minutes: float, ca_file: str, is_json: bool
) -> int:
    """
    Tell whether a bridge beside statsd_exporter shows the same, so that one may switch.

    Exit code 0 if it is safe to switch, 1 if something differs that no row of
    docs/compatibility.md explains, 2 if that cannot be found out.
    """
    from statsd_bridge import compare, fetch

    if math.isnan(minutes):
        raise BridgeError("--minutes: nan is not a number of minutes; write 5, or 0.5")
    exporter = fetch.find_server("theirs", theirs, ca_file=ca_file)
    bridge = fetch.find_server("ours", ours, ca_file=ca_file)
    result = compare.compare(exporter, bridge, minutes * 60)
    if not result.series:
        raise exporter.error("shows no metrics but its own: nothing to compare")
    if is_json:
        click.echo(json.dumps(compare.as_json(result)))
    else:
        click.echo(compare.as_text(result), nl=False)
    return int(not result.is_safe)


COMMANDS = (compare_command, try_command, suggest_command, lint_command)
