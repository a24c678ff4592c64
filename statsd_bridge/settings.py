"""
What an operator can choose: one field for each flag, with its default.

Addresses are `host:port` as statsd_exporter writes them; an empty host is all
interfaces, IPv4 and IPv6.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from statsd_bridge.errors import BridgeError
from statsd_bridge.model import HostPort
from statsd_bridge.text import NANOSECONDS, parse_duration

LEVELS = ("debug", "info", "warn", "error")
FORMATS = ("logfmt", "json")


@dataclass(frozen=True, slots=True)
class Settings:
    """All flags of one run.  Sizes are bytes, times are seconds."""

    listen_udp: HostPort | None = HostPort("127.0.0.1", 9125)
    listen_tcp: HostPort | None = HostPort("127.0.0.1", 9125)
    listen_unixgram: str = ""
    listen_unixstream: str = ""
    unixsocket_mode: int = 0o755
    listen_web: HostPort = HostPort("127.0.0.1", 9102)
    telemetry_path: str = "/metrics"
    enable_lifecycle: bool = False
    web_config: str = ""
    mapping_config: str = ""
    mapping_strict: bool = False
    cache_size: int = 1_000
    read_buffer: int = 4 * 1024 * 1024
    batch: bool = True
    max_series: int = 1_000_000
    set_window: float = 60.0
    count_lines_from: tuple[str, ...] = ("crocbot",)
    dogstatsd_tags: bool = True
    influxdb_tags: bool = True
    librato_tags: bool = True
    signalfx_tags: bool = True
    relay_addresses: tuple[HostPort, ...] = ()
    relay_packet_length: int = 1_400

    @property
    def listens_for_statsd(self) -> bool:
        """Tell whether there is a way in for statsd."""
        return bool(
            self.listen_udp
            or self.listen_tcp
            or self.listen_unixgram
            or self.listen_unixstream
        )


def address(flag: str, text: str) -> HostPort:
    """Read an address; the error names the flag."""
    try:
        return HostPort.parse(text)
    except ValueError as error:
        raise BridgeError(
            f"--{flag}: {error}, for example 127.0.0.1:9125, or :9125 for all"
            " interfaces"
        ) from error


def seconds(flag: str, text: str) -> float:
    """Read a duration as Go writes it, `1m30s` or `0`; the error names the flag."""
    nanoseconds = parse_duration(text)
    if nanoseconds is None or nanoseconds < 0:
        raise BridgeError(f"--{flag}: {text!r} is no duration; write 60s or 1m30s")
    return nanoseconds / NANOSECONDS


def octal(flag: str, text: str) -> int:
    """Read the mode of a file as chmod does; the error names the flag."""
    if not re.fullmatch("[0-7]{1,4}", text):
        raise BridgeError(f"--{flag}: {text!r} is no mode; write it octal, as 755")
    return int(text, 8)
