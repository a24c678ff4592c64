"""The nouns of the gateway that have rules of their own."""

from __future__ import annotations

import pytest

from crocbot.model import HostPort


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8787", "127.0.0.1", 8787),
        ("[::1]:0", "::1", 0),
        ("bot.example.org:65535", "bot.example.org", 65535),
    ],
)
def test_host_and_port_are_read_and_printed(text: str, host: str, port: int) -> None:
    """An address is read into its parts and printed as it was written."""
    address = HostPort.parse(text)
    assert (address, str(address)) == (HostPort(host, port), text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "host", "8787", ":8787", "host:", "host:-1", "host:65536"),
        *("::1:80", "[]:80", "a b:80", "[::1:80"),
    ],
)
def test_an_address_without_host_or_port_is_an_error(text: str) -> None:
    """Any text that is not host:port raises ValueError, which names it."""
    with pytest.raises(ValueError, match=r"write|above") as caught:
        HostPort.parse(text)
    assert repr(text) in str(caught.value)
