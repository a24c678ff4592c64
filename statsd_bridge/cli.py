"""
Flags to settings to a running bridge; the only reader of the command line.

The flags have statsd_exporter's names and meaning.  Exit codes: 0 stopped as asked,
2 the operator must change something, 1 anything else.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import click

from statsd_bridge import log, service
from statsd_bridge.errors import BridgeError
from statsd_bridge.explain import as_json, as_text
from statsd_bridge.mapping import dot
from statsd_bridge.settings import (
    FORMATS,
    LEVELS,
    Settings,
    address,
    octal,
    seconds,
)

IDLE = "Accepted as statsd_exporter has it; does nothing here: there is no such part."


def duration(text: str) -> float:
    """Read the one duration among the flags that do nothing here."""
    return seconds("statsd.event-flush-interval", text)


# Flags of parts that this program does not have, with the type of their value.
IDLE_FLAGS: tuple[tuple[str, Any], ...] = (
    ("statsd.event-queue-size", int),
    ("statsd.event-flush-threshold", int),
    ("statsd.event-flush-interval", duration),
    ("statsd.udp-packet-queue-size", int),
    ("statsd.cache-type", click.Choice(["lru", "random"])),
)

# statsd_exporter takes `INFO`, too.
LEVEL = click.Choice(LEVELS, case_sensitive=False)

TAKEN_PATHS = ("/explain", "/debug/unmapped")

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        return int(run.main(list(_spread(given)), standalone_mode=False) or 0)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        print(f"statsd-bridge: {error.format_message()}", file=sys.stderr)
        return 2
    except click.Abort:
        return 1
    except BridgeError as error:
        print(f"statsd-bridge: {error}", file=sys.stderr)
        return 2


def _spread(arguments: Sequence[str]) -> Iterator[str]:
    """Put the lines of a file in the place of `@file`, as statsd_exporter does."""
    before = ""
    for argument in arguments:
        # What follows such a flag is its value: a Unix socket may be called @name.
        if argument.startswith("@") and before not in _flags_with_a_value():
            yield from _lines(argument[1:])
        else:
            yield argument
        before = argument


@cache
def _flags_with_a_value() -> frozenset[str]:
    options = [each for each in run.params if isinstance(each, click.Option)]
    return frozenset(name for each in options if not each.is_flag for name in each.opts)


def _lines(file: str) -> Iterator[str]:
    try:
        with open(file, encoding="utf-8") as lines:
            for line in lines.read().splitlines():
                if line and not line.startswith("#"):
                    yield line
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise BridgeError(
            f"@{file}: the arguments cannot be read: {reason}; write one to a line"
        ) from error


def _variable(name: str) -> str:
    return name.replace(".", "_").replace("-", "_")


def _flag(name: str, default: Any, help: str, **more: Any) -> Decorator:
    return click.option(
        f"--{name}",
        _variable(name),
        default=default,
        show_default=True,
        help=help,
        **more,
    )


def _switch(name: str, default: bool, help: str) -> Decorator:
    return click.option(
        f"--{name}/--no-{name}",
        _variable(name),
        default=default,
        show_default=True,
        help=help,
    )


def _idle(command: Callable[..., Any]) -> Callable[..., Any]:
    for name, kind in IDLE_FLAGS:
        flag = f"--{name}", _variable(name)
        command = click.option(*flag, type=kind, expose_value=False, help=IDLE)(command)
    return command


def _meaning(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags that decide what a line means."""
    for add in reversed(
        (
            _flag("statsd.mapping-config", "", "Mapping file."),
            _switch(
                "statsd.mapping-strict", False, "Refuse unknown keys in mapping files."
            ),
            _switch("statsd.parse-dogstatsd-tags", True, "Read DogStatsD tags."),
            _switch("statsd.parse-influxdb-tags", True, "Read InfluxDB tags."),
            _switch("statsd.parse-librato-tags", True, "Read Librato tags."),
            _switch("statsd.parse-signalfx-tags", True, "Read SignalFX tags."),
        )
    ):
        command = add(command)
    return command


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@_flag("statsd.listen-udp", "127.0.0.1:9125", 'UDP address for statsd; "" for none.')
@_flag("statsd.listen-tcp", "127.0.0.1:9125", 'TCP address for statsd; "" for none.')
@_flag("statsd.listen-unixgram", "", "Unix datagram socket: a path or @abstract.")
@_flag("statsd.listen-unixstream", "", "Unix stream socket: a path or @abstract.")
@_flag("statsd.unixsocket-mode", "755", "Mode of the Unix sockets' files, octal.")
@_flag("web.listen-address", "127.0.0.1:9102", "HTTP address.")
@_flag("web.telemetry-path", "/metrics", "Path of the metrics page.")
@_flag("web.config.file", "", "TLS and users, as Prometheus' exporter-toolkit has it.")
@_switch("web.enable-lifecycle", False, "Serve /-/reload and /-/quit.")
@_meaning
@_flag(
    "statsd.read-buffer", 4 * 1024 * 1024, "Receive buffer of datagram sockets, bytes."
)
@_switch("statsd.batch", True, "Work on batches of lines; off: line by line, slower.")
@_flag("statsd.cache-size", 1000, "Names whose mapping is kept; 0 for none.", type=int)
@_flag("statsd.max-series", 1_000_000, "Most series; new ones beyond are refused.")
@_flag("statsd.set-window", "60s", "How long a set remembers a member.")
@_flag(
    "statsd.count-lines-from",
    ("crocbot",),
    "First name segment whose lines are counted apart.",
    multiple=True,
)
@_flag(
    "statsd.relay.address",
    (),
    "Another statsd server, host:port, that gets a copy of each line over UDP.",
    multiple=True,
)
@_flag("statsd.relay.packet-length", 1400, "Most bytes of a packet to it.")
@_flag("log.level", "info", "Least level to log.", type=LEVEL)
@_flag("log.format", "logfmt", "Form of a log line.", type=click.Choice(FORMATS))
@_flag("debug.dump-fsm", "", "Write the rules as a Graphviz picture to this file.")
@_switch("check-config", False, "Read everything, start nothing, exit 0 or 2.")
@_idle
@click.version_option(package_name="crocbot", prog_name="statsd-bridge")
@click.pass_context
def run(context: click.Context, /, **flags: Any) -> int:
    """Statsd in, Prometheus out."""
    log.configure(flags["log_level"], flags["log_format"])
    if context.invoked_subcommand:
        context.obj = flags
        return 0
    settings = _settings(flags)
    if flags["check_config"] or flags["debug_dump_fsm"]:
        table = service.check(settings)
        if flags["debug_dump_fsm"]:
            _write(flags["debug_dump_fsm"], dot(table))
        if flags["check_config"]:
            log.logger(__name__).info("the configuration is good", rules=len(table))
            return 0
    service.run(settings)
    return 0


@run.command()
@_meaning
@click.option("--json", "is_json", is_flag=True, help="One JSON object for each line.")
@click.argument("lines", metavar="LINE...", nargs=-1, required=True)
@click.pass_context
def explain(
    context: click.Context, /, lines: tuple[str, ...], is_json: bool, **flags: Any
) -> int:
    """
    Tell what becomes of statsd lines, step by step; no bridge is needed.

    Each LINE comes to the same new bridge after the one before it.
    """
    settings = Settings(**_says(_settled(context, flags)))
    told = service.explained(settings, [os.fsencode(line) for line in lines])
    for number, each in enumerate(told):
        if is_json:
            click.echo(json.dumps(as_json(each)))
        else:
            click.echo("\n" * bool(number) + as_text(each), nl=False)
    return 0


def _settled(context: click.Context, flags: dict[str, Any]) -> dict[str, Any]:
    """Take a flag from before the word `explain` unless it is repeated after it."""
    return {
        name: context.obj[name]
        if context.get_parameter_source(name) is click.core.ParameterSource.DEFAULT
        else value
        for name, value in flags.items()
    }


def _says(flags: dict[str, Any]) -> dict[str, Any]:
    """Name the settings that decide what a line means."""
    return {
        "mapping_config": flags["statsd_mapping_config"],
        "mapping_strict": flags["statsd_mapping_strict"],
        "dogstatsd_tags": flags["statsd_parse_dogstatsd_tags"],
        "influxdb_tags": flags["statsd_parse_influxdb_tags"],
        "librato_tags": flags["statsd_parse_librato_tags"],
        "signalfx_tags": flags["statsd_parse_signalfx_tags"],
    }


def _settings(flags: dict[str, Any]) -> Settings:
    _check(flags)
    udp, tcp = flags["statsd_listen_udp"], flags["statsd_listen_tcp"]
    mode = flags["statsd_unixsocket_mode"]
    settings = Settings(
        listen_udp=address("statsd.listen-udp", udp) if udp else None,
        listen_tcp=address("statsd.listen-tcp", tcp) if tcp else None,
        listen_unixgram=flags["statsd_listen_unixgram"],
        listen_unixstream=flags["statsd_listen_unixstream"],
        unixsocket_mode=octal("statsd.unixsocket-mode", mode),
        listen_web=address("web.listen-address", flags["web_listen_address"]),
        telemetry_path=flags["web_telemetry_path"],
        enable_lifecycle=flags["web_enable_lifecycle"],
        web_config=flags["web_config_file"],
        cache_size=flags["statsd_cache_size"],
        read_buffer=flags["statsd_read_buffer"],
        batch=flags["statsd_batch"],
        max_series=flags["statsd_max_series"],
        set_window=seconds("statsd.set-window", flags["statsd_set_window"]),
        count_lines_from=tuple(flags["statsd_count_lines_from"]),
        relay_addresses=tuple(_targets(flags["statsd_relay_address"])),
        relay_packet_length=flags["statsd_relay_packet_length"],
        **_says(flags),
    )
    if not settings.listens_for_statsd:
        raise BridgeError("--statsd.listen-udp: at least one statsd address is needed")
    return settings


def _check(flags: dict[str, Any]) -> None:
    path = flags["web_telemetry_path"]
    if not path.startswith("/") or path.startswith("/-/") or path in TAKEN_PATHS:
        raise BridgeError(
            f"--web.telemetry-path: {path!r} cannot be used; write a path such as"
            " /metrics"
        )
    for flag in ("cache-size", "read-buffer", "max-series", "relay.packet-length"):
        if flags[_variable(f"statsd.{flag}")] < 0:
            raise BridgeError(f"--statsd.{flag}: must be 0 or more")
    if not seconds("statsd.set-window", flags["statsd_set_window"]):
        raise BridgeError("--statsd.set-window: must be more than 0, for example 60s")


def _targets(texts: Sequence[str]) -> Iterator[Any]:
    for text in filter(None, texts):
        target = address("statsd.relay.address", text)
        if not (target.host and target.port):
            raise BridgeError(
                f"--statsd.relay.address: {text!r} is nobody; write host:port, for"
                " example statsd.example.org:8125"
            )
        yield target


def _write(file: str, text: str) -> None:
    try:
        with open(file, "w", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise BridgeError(f"--debug.dump-fsm: {file}: {error.strerror}") from error
