"""Addresses and durations as operators write them."""

from __future__ import annotations

import pytest

from statsd_bridge import settings
from statsd_bridge.errors import BridgeError
from statsd_bridge.model import HostPort


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":9125", HostPort("", 9125)),
        ("127.0.0.1:0", HostPort("127.0.0.1", 0)),
        ("[::1]:9102", HostPort("::1", 9102)),
        ("localhost:1", HostPort("localhost", 1)),
    ],
)
def test_an_address_is_host_and_port(text: str, address: HostPort) -> None:
    """An empty host is all interfaces, IPv6 is in brackets."""
    assert settings.address("flag", text) == address


@pytest.mark.parametrize("text", ["", "9125", "a:b", "::1:9125", "a:65536", "a:"])
def test_a_bad_address_names_its_flag(text: str) -> None:
    """The message has the flag, what was written, and an example."""
    with pytest.raises(BridgeError, match=r"^--flag: .*host:port"):
        settings.address("flag", text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("60s", 60.0),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        ("250ms", 0.25),
        (".5s", 0.5),
        ("0", 0.0),
        ("2us", 2e-6),
        # The micro sign and the Greek letter look alike; Go takes both.
        ("2\u00b5s", 2e-6),
        ("2\u03bcs", 2e-6),
        ("1s3ns", 1.000000003),
    ],
)
def test_a_duration_is_written_as_in_go(text: str, seconds: float) -> None:
    """Units may be added up."""
    assert settings.seconds("flag", text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "60", "1d", "s", "-1s", "1s 2s"])
def test_a_bad_duration_names_its_flag(text: str) -> None:
    """The message has the flag and an example."""
    with pytest.raises(BridgeError, match=r"^--flag: .*60s"):
        settings.seconds("flag", text)
