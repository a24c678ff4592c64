"""
What an operator can choose: one field for each flag, with its name, default and help.

The flags have statsd_exporter's names and meaning.  cli.py makes the command line from
this table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from statsd_bridge.model import HostPort
from statsd_bridge.text import NANOSECONDS, parse_duration, parse_whole_number


class FlagType(NamedTuple):
    """Reads the value of a flag; `parse` raises ValueError with what would be right."""

    metavar: str
    parse: Callable[[str], Any]


TEXT = FlagType("TEXT", str)


@dataclass(frozen=True, slots=True)
class Flag:
    """
    How a setting is written on the command line.

    `default` is written like the operator's value; it is a bool for a switch, a tuple
    for a flag that can be repeated, None for a flag without effect.  Flags that decide
    what a line means are `is_for_lines`.
    """

    name: str
    default: str | bool | tuple[str, ...] | None
    help: str
    type: FlagType = TEXT
    is_for_lines: bool = False


def _flag(
    name: str,
    default: str | bool | tuple[str, ...],
    help: str,
    type: FlagType = TEXT,
    *,
    is_for_lines: bool = False,
) -> Any:
    """Declare the field of a flag."""
    value = type.parse(default) if isinstance(default, str) else default
    flag = Flag(name, default, help, type, is_for_lines)
    return field(default=value, metadata={"flag": flag})


def _whole_number(text: str) -> int:
    number = parse_whole_number(text)
    if number is None or number < 0:
        raise ValueError(f"{text!r} is not a whole number of 0 or more, such as 1000")
    return number


def _seconds(text: str) -> float:
    nanoseconds = parse_duration(text)
    if nanoseconds is None or nanoseconds < 0:
        raise ValueError(f"{text!r} is not a duration; write 60s or 1m30s")
    return nanoseconds / NANOSECONDS


def _positive_seconds(text: str) -> float:
    seconds = _seconds(text)
    if not seconds:
        raise ValueError("must be more than 0, for example 60s")
    return seconds


def _mode(text: str) -> int:
    if not re.fullmatch("[0-7]{1,4}", text):
        raise ValueError(f"{text!r} is not the mode of a file; write it octal: 755")
    return int(text, 8)


def _optional_address(text: str) -> HostPort | None:
    return HostPort.parse(text) if text else None


def _relay_address(text: str) -> HostPort | None:
    address = _optional_address(text)
    if address and not (address.host and address.port):
        raise ValueError(
            f"{text!r} has no host or no port: write host:port, for example"
            " statsd.example.org:8125"
        )
    return address


def _page_path(text: str) -> str:
    is_taken = text.startswith("/-/") or text in ("/explain", "/debug/unmapped")
    if is_taken or not text.startswith("/"):
        raise ValueError(f"{text!r} cannot be used; write a path such as /metrics")
    return text


def _choice(*words: str) -> FlagType:
    def parse(text: str) -> str:
        # Like statsd_exporter, accept `INFO`, too.
        if text.lower() not in words:
            raise ValueError(f"{text!r} is not one of {', '.join(words)}")
        return text.lower()

    return FlagType("|".join(words), parse)


NUMBER = FlagType("NUMBER", _whole_number)
DURATION = FlagType("DURATION", _positive_seconds)
OPTIONAL_ADDRESS = FlagType("ADDRESS", _optional_address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one run.  Sizes are bytes, times are seconds."""

    listen_udp: HostPort | None = _flag(
        "statsd.listen-udp",
        "127.0.0.1:9125",
        'UDP address for statsd; "" for none.',
        OPTIONAL_ADDRESS,
    )
    listen_tcp: HostPort | None = _flag(
        "statsd.listen-tcp",
        "127.0.0.1:9125",
        'TCP address for statsd; "" for none.',
        OPTIONAL_ADDRESS,
    )
    listen_unixgram: str = _flag(
        "statsd.listen-unixgram", "", "Unix datagram socket: a path or @abstract."
    )
    listen_unixstream: str = _flag(
        "statsd.listen-unixstream", "", "Unix stream socket: a path or @abstract."
    )
    unixsocket_mode: int = _flag(
        "statsd.unixsocket-mode",
        "755",
        "Mode of the Unix sockets' files, octal.",
        FlagType("MODE", _mode),
    )
    listen_web: HostPort = _flag(
        "web.listen-address",
        "127.0.0.1:9102",
        "HTTP address.",
        FlagType("ADDRESS", HostPort.parse),
    )
    telemetry_path: str = _flag(
        "web.telemetry-path",
        "/metrics",
        "Path of the metrics page.",
        FlagType("PATH", _page_path),
    )
    web_config: str = _flag(
        "web.config.file", "", "TLS and users, in the format of exporter-toolkit."
    )
    enable_lifecycle: bool = _flag(
        "web.enable-lifecycle", False, "Serve /-/reload and /-/quit."
    )
    mapping_config: str = _flag(
        "statsd.mapping-config", "", "Mapping file.", is_for_lines=True
    )
    mapping_strict: bool = _flag(
        "statsd.mapping-strict",
        False,
        "Refuse unknown keys in mapping files.",
        is_for_lines=True,
    )
    dogstatsd_tags: bool = _flag(
        "statsd.parse-dogstatsd-tags", True, "Read DogStatsD tags.", is_for_lines=True
    )
    influxdb_tags: bool = _flag(
        "statsd.parse-influxdb-tags", True, "Read InfluxDB tags.", is_for_lines=True
    )
    librato_tags: bool = _flag(
        "statsd.parse-librato-tags", True, "Read Librato tags.", is_for_lines=True
    )
    signalfx_tags: bool = _flag(
        "statsd.parse-signalfx-tags", True, "Read SignalFX tags.", is_for_lines=True
    )
    read_buffer: int = _flag(
        "statsd.read-buffer",
        "4194304",
        "Receive buffer of datagram sockets, bytes.",
        NUMBER,
    )
    batch: bool = _flag(
        "statsd.batch", True, "Process lines in batches; off: one by one, slower."
    )
    cache_size: int = _flag(
        "statsd.cache-size",
        "1000",
        "Names whose mapping is cached; 0 for none.",
        NUMBER,
    )
    max_series: int = _flag(
        "statsd.max-series",
        "1000000",
        "Maximum number of series; new ones beyond it are refused.",
        NUMBER,
    )
    set_window: float = _flag(
        "statsd.set-window", "60s", "How long a set counts a member.", DURATION
    )
    count_lines_from: tuple[str, ...] = _flag(
        "statsd.count-lines-from",
        ("crocbot",),
        "First name segment whose lines are counted apart.",
    )
    relay_addresses: tuple[HostPort, ...] = _flag(
        "statsd.relay.address",
        (),
        "Another statsd server, host:port, that gets a copy of each line over UDP.",
        FlagType("ADDRESS", _relay_address),
    )
    relay_packet_length: int = _flag(
        "statsd.relay.packet-length",
        "1400",
        "Maximum length of a packet to it, bytes.",
        NUMBER,
    )
    log_level: str = _flag(
        "log.level",
        "info",
        "Minimum level to log.",
        _choice("debug", "info", "warn", "error"),
    )
    log_format: str = _flag(
        "log.format", "logfmt", "Format of a log line.", _choice("logfmt", "json")
    )
    dump_fsm: str = _flag(
        "debug.dump-fsm", "", "Write the rules as a Graphviz graph to this file."
    )
    check_config: bool = _flag(
        "check-config", False, "Read all files, start nothing, exit 0 or 2."
    )

    @property
    def listens_for_statsd(self) -> bool:
        """Return whether there is any address for statsd."""
        return any(
            (
                self.listen_udp,
                self.listen_tcp,
                self.listen_unixgram,
                self.listen_unixstream,
            )
        )


IGNORED_FLAGS = tuple(
    Flag(name, None, "Accepted like in statsd_exporter; does nothing here.", type_)
    for name, type_ in (
        ("statsd.event-queue-size", NUMBER),
        ("statsd.event-flush-threshold", NUMBER),
        ("statsd.event-flush-interval", FlagType("DURATION", _seconds)),
        ("statsd.udp-packet-queue-size", NUMBER),
        ("statsd.cache-type", _choice("lru", "random")),
    )
)
"""Flags of parts that statsd_exporter has and this program has not."""
