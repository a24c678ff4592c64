"""The values of flags, as operators write them."""

from __future__ import annotations

from dataclasses import fields
from ipaddress import ip_network
from typing import Any

import pytest

from statsd_bridge import cli
from statsd_bridge.model import HostPort
from statsd_bridge.settings import IGNORED_FLAGS, Settings

TYPES = {
    flag.name: flag.type
    for flag in (*(each.metadata["flag"] for each in fields(Settings)), *IGNORED_FLAGS)
}


@pytest.mark.parametrize(
    ("flag", "text", "value"),
    [
        # An empty host is all interfaces, IPv6 is in brackets.
        ("statsd.listen-udp", ":9125", HostPort("", 9125)),
        ("statsd.listen-tcp", "127.0.0.1:0", HostPort("127.0.0.1", 0)),
        ("web.listen-address", "[::1]:9102", HostPort("::1", 9102)),
        ("statsd.relay.address", "localhost:1", HostPort("localhost", 1)),
        ("statsd.listen-udp", "", None),
        ("statsd.set-window", "1m30s", 90.0),
        ("statsd.event-flush-interval", "0", 0.0),
        ("statsd.unixsocket-mode", "640", 0o640),
        # Like kingpin, whole numbers may be written as floats.
        ("statsd.read-buffer", "8.388608e+06", 8_388_608),
        ("statsd.cache-size", "1e3", 1_000),
        ("statsd.event-queue-size", "1e+04", 10_000),
        ("statsd.relay.packet-length", "0x578", 1_400),
        ("statsd.relay.packet-length", "0o2570", 1_400),
        ("statsd.relay.packet-length", "0b1_0", 2),
        ("log.level", "INFO", "info"),
        ("statsd.max-memory", "", None),
        ("statsd.max-memory", "0", 0),
        ("statsd.max-memory", "1000000", 1_000_000),
        ("statsd.max-memory", "5.36870912e+08", 512 * 1024**2),
        ("statsd.max-memory", "512MiB", 512 * 1024**2),
        ("statsd.max-memory", "512Mi", 512 * 1024**2),
        ("statsd.max-memory", "1.5GB", 1_500_000_000),
        ("statsd.max-memory", "64kB", 64_000),
        ("statsd.max-name-length", "65535", 65_535),
        ("statsd.allow-from", "10.0.0.0/8", ip_network("10.0.0.0/8")),
        ("statsd.allow-from", "::1", ip_network("::1/128")),
    ],
)
def test_values_are_read(flag: str, text: str, value: Any) -> None:
    """Each type of flag."""
    assert TYPES[flag].parse(text) == value


@pytest.mark.parametrize(
    "flag", [name for name, each in TYPES.items() if each.metavar in ("NUMBER", "SIZE")]
)
def test_each_whole_number_may_be_written_as_helm_prints_it(flag: str) -> None:
    """Also that of a flag without effect."""
    assert TYPES[flag].parse("1.024e+03") == 1_024
    assert cli.main([f"--{flag}=1.024e+03", "--check-config"]) == 0


@pytest.mark.parametrize(
    ("flags", "texts", "words"),
    [
        (
            ("statsd.listen-udp", "web.listen-address"),
            ("9125", "a:b", "::1:9125", "a:65536", "a:"),
            "host:port",
        ),
        (("statsd.relay.address",), (":9", "a:0"), "has no host or no port"),
        (
            ("statsd.set-window", "statsd.event-flush-interval"),
            ("", "60", "1d", "s", "-1s", "1s 2s"),
            "60s",
        ),
        (("statsd.set-window",), ("0", "0s"), "more than 0"),
        (("statsd.unixsocket-mode",), ("9", "", "77777", "-1"), "755"),
        (
            ("web.telemetry-path",),
            (
                *("", "metrics", "/-/healthy", "/explain", "/debug/unmapped"),
                *("//metrics", "/a//b", "/./metrics", "/a/..", "/metrics?x", "/a#b"),
            ),
            "/metrics",
        ),
        (
            (
                *("statsd.cache-size", "statsd.max-series", "statsd.read-buffer"),
                *("statsd.relay.packet-length", "statsd.event-queue-size"),
                *("statsd.event-flush-threshold", "statsd.udp-packet-queue-size"),
            ),
            (
                *("", "many", "-1", "1.5", "1e-3", "1e300", "inf", "nan", "1 000"),
                *("0x", "0xg", "-0x1", "0x8000000000000000", "8e6 ", "8e+06.0"),
            ),
            "whole number",
        ),
        (("log.level", "log.format", "statsd.cache-type"), ("", "loud"), "one of"),
        (
            ("statsd.max-memory",),
            ("-1", "half", "MiB", "1 XB", "512mib", "1e400", "nan", "50%"),
            "512MiB",
        ),
        (
            (
                *("statsd.max-name-length", "statsd.max-label-name-length"),
                "statsd.max-label-value-length",
            ),
            ("0", "65536"),
            "from 1 to 65535",
        ),
    ],
)
def test_other_values_are_refused(
    flags: tuple[str, ...], texts: tuple[str, ...], words: str
) -> None:
    """The error says what would be right."""
    for flag in flags:
        for text in texts:
            with pytest.raises(ValueError, match=words):
                TYPES[flag].parse(text)
