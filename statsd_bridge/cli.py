"""
The command line: flags to settings to a running bridge.

Exit codes: 0 stopped on request, 2 the operator must change something, 1 anything else.
Commands import what they need when they run, so that --help is quick.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from statsd_bridge import optional, subcommands
from statsd_bridge.errors import BridgeError, escaped
from statsd_bridge.settings import IGNORED_FLAGS, LINE_SETTINGS, Flag, Settings
from statsd_bridge.signals import SIGNALS
from statsd_bridge.stderr import WRITER

if TYPE_CHECKING:
    from statsd_bridge.mapping import MappingTable

STDOUT = 1
INTERRUPTED = 130
"""The exit code after Ctrl-C, that of a shell: 1 is a difference, and none is known."""

# errno of a write to a full disk or a closed terminal.
OUTPUT_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; return the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        return int(run.main(expand_args_files(given), standalone_mode=False) or 0)
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        return _print_error(error.format_message())
    except BridgeError as error:
        return _print_error(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "statsd_bridge":
            raise
        extra = "pip install 'crocbot[bridge]'"
        return _print(f'statsd-bridge needs the extra "bridge": {extra}')
    except OSError as error:
        return _print_output_error(error)
    finally:
        WRITER.flush()


def _print_output_error(error: OSError) -> int:
    """Print the error of a write to standard output; raise any other."""
    if error.errno not in OUTPUT_ERRORS:
        raise error
    # Python would try to write the rest at its exit, and fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
    return _print_error(f"the output cannot be written: {error.strerror}")


def _print_error(line: str) -> int:
    """Print an error in one line, whatever it quotes, and return the exit code."""
    return _print(f"statsd-bridge: {escaped(line)}")


def _print(line: str) -> int:
    # Not by print(): the reader of standard error may be stuck.
    WRITER.write(f"{line}\n")
    return 2


def expand_args_files(arguments: Sequence[str]) -> list[str]:
    """Replace `@file` by the lines of the file, like statsd_exporter."""
    expanded: list[str] = []
    before = ""
    for argument in arguments:
        # After a flag it is the flag's value: a Unix socket may be called @name.
        if argument.startswith("@") and before not in _VALUE_FLAGS:
            expanded += _read_lines(argument[1:])
        else:
            expanded.append(argument)
        before = argument
    return expanded


def _read_lines(file: str) -> Iterator[str]:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise BridgeError(
            f"@{file}: cannot be read: {reason}; write one argument per line"
        ) from error
    return (line for line in lines if line and not line.startswith("#"))


class _FlagType(click.ParamType):  # type: ignore[type-arg]
    """Reads the value of a flag; a BridgeError names the flag."""

    def __init__(self, flag: Flag) -> None:
        self.name = flag.type.metavar
        self._flag = flag

    def convert(self, value: Any, _: Any, __: Any) -> Any:
        try:
            return self._flag.type.parse(value)
        except ValueError as error:
            raise BridgeError(f"--{self._flag.name}: {error}") from error


def _option(flag: Flag, field: str, **more: Any) -> click.Option:
    names = [f"--{flag.name}", field]
    if isinstance(flag.default, bool):
        names[0] += f"/--no-{flag.name}"
    else:
        more["type"] = _FlagType(flag)
        more["metavar"] = flag.type.metavar
        more["multiple"] = isinstance(flag.default, tuple)
    return click.Option(
        names,
        default=flag.default,
        show_default=flag.default not in ("", None),
        help=flag.help,
        **more,
    )


_FLAGS: dict[str, Flag] = {
    field.name: field.metadata["flag"] for field in dataclasses.fields(Settings)
}

_VALUE_FLAGS = {
    f"--{flag.name}"
    for flag in (*_FLAGS.values(), *IGNORED_FLAGS)
    if not isinstance(flag.default, bool)
} | {"--expect", *subcommands.VALUE_FLAGS}

_OPTIONS = [_option(flag, field) for field, flag in _FLAGS.items()]
_IGNORED_OPTIONS = [
    _option(flag, f"ignored_{number}", expose_value=False)
    for number, flag in enumerate(IGNORED_FLAGS)
]
_LINE_OPTIONS = [
    _option(flag, field) for field, flag in _FLAGS.items() if field in LINE_SETTINGS
]


@click.group(
    params=[*_OPTIONS, *_IGNORED_OPTIONS],
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="crocbot", prog_name="statsd-bridge")
@click.pass_context
def run(context: click.Context, /, **values: Any) -> int:
    """Receive statsd, serve Prometheus metrics."""
    settings = _settings(values)
    if context.invoked_subcommand or settings.check_config:
        # An argument of @file, which __main__.py does not read.
        SIGNALS.restore()

    with optional.left_out(*optional.OF_LOG):
        from statsd_bridge import log

    log.configure(settings.log_level, settings.log_format)
    if context.invoked_subcommand:
        context.obj = values
        return 0
    if not settings.listens_for_statsd:
        raise BridgeError("--statsd.listen-udp: at least one statsd address is needed")

    with optional.left_out(*(() if settings.web_config else optional.OF_TLS)):
        from statsd_bridge.service import process

    if settings.check_config or settings.dump_fsm:
        table = process.check(settings)
        if settings.dump_fsm:
            _write_graph(settings.dump_fsm, table)
        if settings.check_config:
            log.logger(__name__).info("the configuration is valid", rules=len(table))
            return 0
    return process.run(settings)


@run.command(params=_LINE_OPTIONS)
@click.option("--json", "is_json", is_flag=True, help="Print JSON objects.")
@click.option(
    "--expect",
    "expect_files",
    metavar="FILE",
    multiple=True,
    help="Test the mapping file: FILE has lines LINE => SERIES VALUE, LINE => dropped,"
    " LINE => refused.  Exit code 1 if one does not hold.",
)
@click.argument("lines", metavar="[LINE...]", nargs=-1)
@click.pass_context
def explain(
    context: click.Context,
    /,
    lines: tuple[str, ...],
    is_json: bool,
    expect_files: tuple[str, ...],
    **values: Any,
) -> int:
    """
    Explain how statsd lines are processed, step by step, without a running bridge.

    The lines are processed in order, by one new bridge.
    """
    if len(expect_files) > 1:
        raise BridgeError("--expect: given more than once; test one file at a time")
    if not (expect_files or lines):
        raise BridgeError("explain: no line; write statsd lines, or --expect FILE")
    if expect_files and lines:
        raise BridgeError("--expect: the file has the lines; leave out LINE")
    settings = _explain_settings(context, values)
    if expect_files:
        return _check_expectations(settings, expect_files[0], is_json)
    return _explain_lines(settings, lines, is_json)


for each in subcommands.COMMANDS:
    run.add_command(each)


def _explain_settings(context: click.Context, values: dict[str, Any]) -> Settings:
    # A flag after the word `explain` overrides the same flag before it.
    overrides = {
        name: value
        for name, value in values.items()
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    }
    return _settings(context.obj | overrides)


def _explain_lines(settings: Settings, lines: Sequence[str], is_json: bool) -> int:
    from statsd_bridge.explain import as_json, as_text
    from statsd_bridge.service import build

    raw_lines = [os.fsencode(line) for line in lines]
    for number, each in enumerate(build.explain_lines(settings, raw_lines)):
        if is_json:
            click.echo(json.dumps(as_json(each)))
        else:
            click.echo("\n" * bool(number) + as_text(each), nl=False)
    return 0


def _check_expectations(settings: Settings, file: str, is_json: bool) -> int:
    """Print the expectations that do not hold; return 1 if there are any."""
    from statsd_bridge.expect import as_json, as_text
    from statsd_bridge.service import build

    report = build.check_expectations(settings, file)
    if is_json:
        click.echo(json.dumps(as_json(report)))
    else:
        click.echo(as_text(report), nl=False)
    return int(bool(report.failures))


def _settings(values: dict[str, Any]) -> Settings:
    # An empty text in place of an address is the same as no flag.
    addresses = tuple(filter(None, values["relay_addresses"]))
    settings = Settings(**{**values, "relay_addresses": addresses})
    _check_relay(settings)
    return settings


def _check_relay(settings: Settings) -> None:
    """Raise BridgeError if the flags of the relay contradict each other."""
    if not settings.shards:
        if settings.relay_failover:
            raise BridgeError(
                "--statsd.relay.failover: has no effect without"
                " --statsd.relay.mode=shard; leave it out"
            )
        return
    if not settings.relay_addresses:
        raise BridgeError(
            "--statsd.relay.mode: shard needs at least one --statsd.relay.address"
        )
    seen = set()
    for address in settings.relay_addresses:
        if address.key in seen:
            raise BridgeError(
                f"--statsd.relay.address: '{address}' is given twice; a target is known"
                " by its address, give each one once"
            )
        seen.add(address.key)
        if settings.listen_udp and settings.listen_udp.receives(address):
            raise BridgeError(
                f"--statsd.relay.address: '{address}' is the bridge's own"
                " --statsd.listen-udp; write the address of another bridge"
            )


def _write_graph(file: str, table: MappingTable) -> None:
    from statsd_bridge.mapping import to_dot

    try:
        Path(file).write_text(to_dot(table), encoding="utf-8")
    except OSError as error:
        raise BridgeError(f"--debug.dump-fsm: {file}: {error.strerror}") from error
