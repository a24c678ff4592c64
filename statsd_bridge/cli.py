"""
Flags to settings to a running bridge; the only reader of the command line.

The flags have statsd_exporter's names and meaning.  Exit codes: 0 stopped as asked,
2 the operator must change something, 1 anything else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from statsd_bridge import log, service
from statsd_bridge.errors import BridgeError
from statsd_bridge.mapping import dot
from statsd_bridge.settings import Settings, address, seconds

IDLE = "Accepted as statsd_exporter has it; does nothing here: there is no such part."

# Flags of parts that this program does not have, with the type of their value.
IDLE_FLAGS: tuple[tuple[str, Any], ...] = (
    ("statsd.event-queue-size", int),
    ("statsd.event-flush-threshold", int),
    ("statsd.event-flush-interval", str),
    ("statsd.udp-packet-queue-size", int),
    ("statsd.cache-type", click.Choice(["lru", "random"])),
)

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        return int(run.main(arguments, standalone_mode=False) or 0)
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


def _flag(name: str, default: Any, help: str, **more: Any) -> Decorator:
    variable = name.replace(".", "_").replace("-", "_")
    return click.option(
        f"--{name}", variable, default=default, show_default=True, help=help, **more
    )


def _switch(name: str, default: bool, help: str) -> Decorator:
    variable = name.replace(".", "_").replace("-", "_")
    return click.option(
        f"--{name}/--no-{name}", variable, default=default, show_default=True, help=help
    )


def _idle(command: Callable[..., Any]) -> Callable[..., Any]:
    for name, kind in IDLE_FLAGS:
        variable = name.replace(".", "_").replace("-", "_")
        flag = f"--{name}", variable
        command = click.option(*flag, type=kind, expose_value=False, help=IDLE)(command)
    return command


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@_flag("statsd.listen-udp", "127.0.0.1:9125", 'UDP address for statsd; "" for none.')
@_flag("statsd.listen-tcp", "", 'TCP address for statsd; "" for none.')
@_flag("web.listen-address", "127.0.0.1:9102", "HTTP address.")
@_flag("web.telemetry-path", "/metrics", "Path of the metrics page.")
@_switch("web.enable-lifecycle", False, "Serve /-/reload and /-/quit.")
@_flag("statsd.mapping-config", "", "Mapping file.")
@_switch("statsd.mapping-strict", False, "Refuse unknown keys in the mapping file.")
@_flag("statsd.read-buffer", 4 * 1024 * 1024, "Receive buffer of UDP sockets, bytes.")
@_flag("statsd.cache-size", 1000, "Names whose mapping is kept; 0 for none.", type=int)
@_flag("statsd.max-series", 1_000_000, "Most series; new ones beyond are refused.")
@_flag("statsd.set-window", "60s", "How long a set remembers a member.")
@_flag(
    "statsd.count-lines-from",
    ("crocbot",),
    "First name segment whose lines are counted apart.",
    multiple=True,
)
@_switch("statsd.parse-dogstatsd-tags", True, "Read DogStatsD tags.")
@_switch("statsd.parse-influxdb-tags", True, "Read InfluxDB tags.")
@_switch("statsd.parse-librato-tags", True, "Read Librato tags.")
@_switch("statsd.parse-signalfx-tags", True, "Read SignalFX tags.")
@_flag("log.level", "info", "Least level to log.", type=click.Choice(log.LEVELS))
@_flag("log.format", "logfmt", "Form of a log line.", type=click.Choice(log.FORMATS))
@_flag("debug.dump-fsm", "", "Write the rules as a Graphviz picture to this file.")
@_switch("check-config", False, "Read everything, start nothing, exit 0 or 2.")
@_idle
@click.version_option(package_name="crocbot", prog_name="statsd-bridge")
def run(**flags: Any) -> int:
    """Statsd in, Prometheus out."""
    log.configure(flags["log_level"], flags["log_format"])
    settings = _settings(flags)
    if flags["check_config"] or flags["debug_dump_fsm"]:
        table = service.load(settings)
        if flags["debug_dump_fsm"]:
            _write(flags["debug_dump_fsm"], dot(table))
        if flags["check_config"]:
            log.logger().info("the configuration is good", rules=len(table))
            return 0
    service.run(settings)
    return 0


def _settings(flags: dict[str, Any]) -> Settings:
    path = flags["web_telemetry_path"]
    if not path.startswith("/") or path.startswith("/-/"):
        raise BridgeError(
            f"--web.telemetry-path: {path!r} cannot be used; write a path such as"
            " /metrics"
        )
    for flag in ("cache-size", "read-buffer", "max-series"):
        if flags[f"statsd_{flag.replace('-', '_')}"] < 0:
            raise BridgeError(f"--statsd.{flag}: must be 0 or more")
    udp, tcp = flags["statsd_listen_udp"], flags["statsd_listen_tcp"]
    if not (udp or tcp):
        raise BridgeError("--statsd.listen-udp: at least one statsd address is needed")
    return Settings(
        listen_udp=address("statsd.listen-udp", udp) if udp else None,
        listen_tcp=address("statsd.listen-tcp", tcp) if tcp else None,
        listen_web=address("web.listen-address", flags["web_listen_address"]),
        telemetry_path=path,
        enable_lifecycle=flags["web_enable_lifecycle"],
        mapping_config=flags["statsd_mapping_config"],
        mapping_strict=flags["statsd_mapping_strict"],
        cache_size=flags["statsd_cache_size"],
        read_buffer=flags["statsd_read_buffer"],
        max_series=flags["statsd_max_series"],
        set_window=seconds("statsd.set-window", flags["statsd_set_window"]),
        count_lines_from=tuple(flags["statsd_count_lines_from"]),
        dogstatsd_tags=flags["statsd_parse_dogstatsd_tags"],
        influxdb_tags=flags["statsd_parse_influxdb_tags"],
        librato_tags=flags["statsd_parse_librato_tags"],
        signalfx_tags=flags["statsd_parse_signalfx_tags"],
    )


def _write(file: str, text: str) -> None:
    try:
        with open(file, "w", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise BridgeError(f"--debug.dump-fsm: {file}: {error.strerror}") from error
