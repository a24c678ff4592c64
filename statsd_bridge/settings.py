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

from statsd_bridge import syntax
from statsd_bridge.model import MAX_EXPANDED_LENGTH, HostPort, NativeMode
from statsd_bridge.networks import Network, parse_network
from statsd_bridge.text_lengths import (
    MAX_LABEL_NAME_BYTES,
    MAX_LABEL_VALUE_BYTES,
    MAX_NAME_BYTES,
)

_PREFIXED_INTEGER = re.compile(
    r"0(?:[xX](?:_?[0-9a-fA-F]){1,15}|[oO](?:_?[0-7]){1,15}|[bB](?:_?[01]){1,15})"
)


class Flag(NamedTuple):
    """
    How a setting is written on the command line.

    `default` is written like the operator's value; it is a bool for a switch, a tuple
    for a flag that can be repeated, None for a flag without effect.
    """

    name: str
    default: str | bool | tuple[str, ...] | None
    help: str
    type: FlagType


EXPLAIN_PATH, UNMAPPED_PATH = "/explain", "/debug/unmapped"
API_PATH, UI_PATH = "/api/v1/", "/ui"


class FlagType(NamedTuple):
    """Reads the value of a flag; `parse` raises ValueError with what would be right."""

    metavar: str
    parse: Callable[[str], Any]

    def field(self, name: str, default: str | tuple[str, ...], help: str) -> Any:
        """Declare the field of a flag; a tuple as `default` lets it be repeated."""
        flag = Flag(name, default, help, self)
        if isinstance(default, tuple):
            value: Any = tuple(map(self.parse, default))
        else:
            value = self.parse(default)
        return field(default=value, metadata={"flag": flag})


def _switch(name: str, default: bool, help: str) -> Any:
    return field(default=default, metadata={"flag": Flag(name, default, help, TEXT)})


def _whole_number(text: str) -> int:
    number = syntax.parse_whole_number(text)
    if number is None or number < 0:
        raise ValueError(f"{text!r} is not a whole number of 0 or more, such as 1000")
    return number


def _unsigned_number(text: str) -> int:
    # statsd_exporter reads this flag alone as Go reads an integer.
    if _PREFIXED_INTEGER.fullmatch(text):
        return int(text, 0)
    return _whole_number(text)


def _text_length(text: str) -> int:
    number = _whole_number(text)
    if not 0 < number < MAX_EXPANDED_LENGTH:
        raise ValueError(f"{text!r} is not from 1 to {MAX_EXPANDED_LENGTH - 1}")
    return number


def _optional_size(text: str) -> int | None:
    size = syntax.parse_size(text)
    if text and size is None:
        raise ValueError(f"{text!r} is not a size; write bytes or 512MiB, 0 for none")
    return size


def _seconds(text: str) -> float:
    nanoseconds = syntax.parse_duration(text)
    if nanoseconds is None or nanoseconds < 0:
        raise ValueError(f"{text!r} is not a duration; write 60s or 1m30s")
    return nanoseconds / syntax.NANOSECONDS_PER_SECOND


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
    is_taken = text.startswith(("/-/", API_PATH, f"{UI_PATH}/")) or text in (
        EXPLAIN_PATH,
        UNMAPPED_PATH,
        UI_PATH,
    )
    # No request has such a path: it is redirected to the clean one, or ends at the `?`.
    is_unreachable = re.search(r"//|/\.{1,2}(/|$)|[?#]", text)
    if is_taken or is_unreachable or not text.startswith("/"):
        raise ValueError(f"{text!r} cannot be used; write a path such as /metrics")
    return text


def _choice(*words: str) -> FlagType:
    def parse(text: str) -> str:
        # Like statsd_exporter, accept `INFO`, too.
        if text.lower() not in words:
            raise ValueError(f"{text!r} is not one of {', '.join(words)}")
        return text.lower()

    return FlagType("|".join(words), parse)


def _native_mode(text: str) -> NativeMode:
    return NativeMode(_choice(*NativeMode).parse(text))


TEXT = FlagType("TEXT", str)
NUMBER = FlagType("NUMBER", _whole_number)
UNSIGNED = FlagType("NUMBER", _unsigned_number)
LENGTH = FlagType("NUMBER", _text_length)
SIZE = FlagType("SIZE", _optional_size)
DURATION = FlagType("DURATION", _seconds)
WINDOW = FlagType("DURATION", _positive_seconds)
MODE = FlagType("MODE", _mode)
PATH = FlagType("PATH", _page_path)
ADDRESS = FlagType("ADDRESS", HostPort.parse)
LISTEN = FlagType("ADDRESS", _optional_address)
RELAY = FlagType("ADDRESS", _relay_address)
NETWORK = FlagType("CIDR", parse_network)
LEVEL = _choice("debug", "info", "warn", "error")
FORMAT = _choice("logfmt", "json")
RELAY_MODE = _choice("copy", "shard")
NATIVE_MODE = FlagType("auto|on|off", _native_mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one run.  Sizes are bytes, times are seconds."""

    listen_udp: HostPort | None = LISTEN.field(  # noqa: RUF009
        "statsd.listen-udp", "127.0.0.1:9125", 'UDP address for statsd; "" for none.'
    )
    listen_tcp: HostPort | None = LISTEN.field(  # noqa: RUF009
        "statsd.listen-tcp", "127.0.0.1:9125", 'TCP address for statsd; "" for none.'
    )
    listen_unixgram: str = TEXT.field(
        "statsd.listen-unixgram", "", "Unix datagram socket: a path or @abstract."
    )
    listen_unixstream: str = TEXT.field(
        "statsd.listen-unixstream", "", "Unix stream socket: a path or @abstract."
    )
    unixsocket_mode: int = MODE.field(
        "statsd.unixsocket-mode", "755", "Mode of the Unix sockets' files, octal."
    )
    allow_from: tuple[Network, ...] = NETWORK.field(
        "statsd.allow-from",
        (),
        "Network whose hosts may send over UDP and TCP, such as 10.0.0.0/8; others are"
        " dropped and counted.  Default: every host.",
    )
    listen_web: HostPort = ADDRESS.field(  # noqa: RUF009
        "web.listen-address", "127.0.0.1:9102", "HTTP address."
    )
    telemetry_path: str = PATH.field(
        "web.telemetry-path", "/metrics", "Path of the metrics page."
    )
    web_config: str = TEXT.field(
        "web.config.file", "", "TLS and users, in the format of exporter-toolkit."
    )
    web_ui: bool = _switch(
        "web.ui", True, "Serve the page at / and its data at /api/v1/."
    )
    enable_lifecycle: bool = _switch(
        "web.enable-lifecycle", False, "Serve /-/reload and /-/quit."
    )
    openmetrics_created: bool = _switch(
        "web.openmetrics-created",
        False,
        "Show in OpenMetrics, too, when a series was created: `_created` lines.",
    )
    mapping_config: str = TEXT.field("statsd.mapping-config", "", "Mapping file.")
    mapping_strict: bool = _switch(
        "statsd.mapping-strict", False, "Refuse mapping files with unknown keys."
    )
    dogstatsd_tags: bool = _switch(
        "statsd.parse-dogstatsd-tags", True, "Read DogStatsD tags."
    )
    influxdb_tags: bool = _switch(
        "statsd.parse-influxdb-tags", True, "Read InfluxDB tags."
    )
    librato_tags: bool = _switch(
        "statsd.parse-librato-tags", True, "Read Librato tags."
    )
    signalfx_tags: bool = _switch(
        "statsd.parse-signalfx-tags", True, "Read SignalFX tags."
    )
    read_buffer: int = NUMBER.field(
        "statsd.read-buffer", "4194304", "Receive buffer of datagram sockets, bytes."
    )
    batch: bool = _switch(
        "statsd.batch", True, "Process lines in batches, which is faster."
    )
    cache_size: int = NUMBER.field(
        "statsd.cache-size", "1000", "Names whose mapping is cached; 0 for none."
    )
    max_series: int = NUMBER.field(
        "statsd.max-series",
        "1000000",
        "Maximum number of series; further ones are rejected.",
    )
    max_series_per_name: int = NUMBER.field(
        "statsd.max-series-per-name",
        "0",
        "Maximum number of series of a metric name, after mapping; 0 for none.",
    )
    quota_config: str = TEXT.field(
        "statsd.quota-config",
        "",
        "Quota file: the maximum number of series of metric names that it matches.",
    )
    max_memory: int | None = SIZE.field(
        "statsd.max-memory",
        "",
        "Memory for all that is remembered, bytes or 512MiB; 0 for no limit.  Default:"
        " half of the cgroup's limit, else a quarter of the memory.",
    )
    max_name_length: int = LENGTH.field(
        "statsd.max-name-length", str(MAX_NAME_BYTES), "Maximum bytes of a metric name."
    )
    max_label_name_length: int = LENGTH.field(
        "statsd.max-label-name-length",
        str(MAX_LABEL_NAME_BYTES),
        "Maximum bytes of a label name.",
    )
    max_label_value_length: int = LENGTH.field(
        "statsd.max-label-value-length",
        str(MAX_LABEL_VALUE_BYTES),
        "Maximum bytes of a label value.",
    )
    set_window: float = WINDOW.field(
        "statsd.set-window", "60s", "How long a set counts a member."
    )
    native_histograms: NativeMode = NATIVE_MODE.field(  # noqa: RUF009
        "statsd.native-histograms",
        "auto",
        "Native buckets of histograms, which scrapes in protobuf show; auto drops them"
        " after an hour without such a scrape.",
    )
    count_lines_from: tuple[str, ...] = TEXT.field(
        "statsd.count-lines-from",
        ("crocbot",),
        "First name segment whose lines are counted separately.",
    )
    relay_addresses: tuple[HostPort, ...] = RELAY.field(
        "statsd.relay.address",
        (),
        "Another statsd server, host:port, that gets lines over UDP: see"
        " --statsd.relay.mode.",
    )
    relay_mode: str = RELAY_MODE.field(
        "statsd.relay.mode",
        "copy",
        "copy: every relay target gets each line, and this bridge processes it, too;"
        " shard: one target gets it, by the metric that the mapping gives, and this"
        " bridge has no series of it.",
    )
    relay_failover: bool = _switch(
        "statsd.relay.failover",
        False,
        "In mode shard, send the lines of a target that is gone to the others.",
    )
    relay_packet_length: int = UNSIGNED.field(
        "statsd.relay.packet-length", "1400", "Maximum bytes of a relayed packet."
    )
    storage_file: str = TEXT.field(
        "storage.file",
        "",
        "Write all series to this file at a stop, and go on with them at the next"
        " start.  Default: none, each start begins without series.",
    )
    log_level: str = LEVEL.field("log.level", "info", "Minimum level to log.")
    log_format: str = FORMAT.field("log.format", "logfmt", "Format of a log line.")
    dump_fsm: str = TEXT.field(
        "debug.dump-fsm", "", "Write the rules as a Graphviz graph to this file."
    )
    check_config: bool = _switch(
        "check-config", False, "Read all files, start nothing, exit 0 or 2."
    )

    @property
    def shards(self) -> bool:
        """Return whether each line is relayed to one of the targets."""
        return self.relay_mode == "shard"

    @property
    def listens_for_statsd(self) -> bool:
        """Return whether there is any address for statsd."""
        ip = self.listen_udp or self.listen_tcp
        return bool(ip or self.listen_unixgram or self.listen_unixstream)


LINE_SETTINGS = frozenset(
    {
        *("mapping_config", "mapping_strict"),
        *("max_series_per_name", "quota_config"),
        *("dogstatsd_tags", "influxdb_tags", "librato_tags", "signalfx_tags"),
        *("relay_mode", "relay_addresses"),
    }
)
"""The settings that decide what a line means, and where it goes."""

IGNORED_FLAGS = tuple(
    Flag(name, None, "Accepted as in statsd_exporter; does nothing here.", type_)
    for name, type_ in (
        ("statsd.event-queue-size", NUMBER),
        ("statsd.event-flush-threshold", NUMBER),
        ("statsd.event-flush-interval", DURATION),
        ("statsd.udp-packet-queue-size", NUMBER),
        ("statsd.cache-type", _choice("lru", "random")),
    )
)
"""Flags for parts of statsd_exporter that this program does not have."""
