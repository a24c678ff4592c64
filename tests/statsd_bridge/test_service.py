"""The wiring: reload, expiry and the page, on a reactor in memory."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from statsd_bridge.errors import ConfigError
from statsd_bridge.model import HostPort
from statsd_bridge.service import Bridge
from statsd_bridge.settings import Settings

RULES = "mappings: [{match: a.*, name: a_total, labels: {x: $1}}]"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A mapping file."""
    file = tmp_path / "rules.yml"
    file.write_text(RULES)
    return file


@pytest.fixture
def bridge(rules: Path) -> Iterator[Bridge]:
    """A bridge with a real UDP socket that nobody watches."""
    settings = Settings(
        listen_udp=HostPort("127.0.0.1", 0), mapping_config=str(rules), read_buffer=0
    )
    reactor = MemoryReactorClock()
    made = Bridge(settings, reactor)
    made.start()
    yield made
    for reader in reactor.readers:
        reader.connectionLost(None)


def page(bridge: Bridge) -> str:
    """Scrape."""
    return b"".join(bridge.metrics().slices).decode()


def test_a_page_has_the_bridge_s_own_metrics(bridge: Bridge) -> None:
    """The rules that are loaded are told."""
    assert "statsd_exporter_loaded_mappings 1.0\n" in page(bridge)


def test_a_good_file_replaces_the_rules(bridge: Bridge, rules: Path) -> None:
    """After a reload the new rules hold, and the success is counted."""
    rules.write_text("")

    assert bridge.reload() == ""
    text = page(bridge)
    assert "statsd_exporter_loaded_mappings 0.0\n" in text
    assert 'statsd_exporter_config_reloads_total{outcome="success"} 1.0\n' in text


def test_a_bad_file_changes_nothing(bridge: Bridge, rules: Path) -> None:
    """The reason comes back, the old rules stay, the failure is counted."""
    rules.write_text("mappings: [{match: a..b, name: a}]")

    assert "match" in bridge.reload()
    text = page(bridge)
    assert "statsd_exporter_loaded_mappings 1.0\n" in text
    assert 'statsd_exporter_config_reloads_total{outcome="failure"} 1.0\n' in text


def test_a_bug_does_not_close_a_door(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception that nobody expected costs one batch, is counted and told once."""

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(bridge._pipeline, "feed", broken)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"a:1|c", ("127.0.0.1", bridge._datagrams[0].port))
    assert "statsd_bridge_bugs_total 1.0\n" in page(bridge)

    monkeypatch.undo()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"b:1|c", ("127.0.0.1", bridge._datagrams[0].port))
    assert "\nb 1\n" in page(bridge)


def test_what_twisted_cannot_tell_anybody_is_a_bug(bridge: Bridge) -> None:
    """An error in its log is counted, a mere remark is not."""
    quiet = {"log_level": LogLevel.warn, "log_format": "x"}
    loud = {"log_level": LogLevel.critical, "log_failure": Failure(ValueError("x"))}
    bridge.hear_twisted(quiet)
    bridge.hear_twisted(loud)

    assert "statsd_bridge_bugs_total 1.0\n" in page(bridge)


def test_a_bad_file_at_start_is_an_error(rules: Path) -> None:
    """A bridge does not start with rules that it cannot read."""
    rules.write_text("mappings: 7")
    with pytest.raises(ConfigError, match="mappings"):
        Bridge(Settings(mapping_config=str(rules)), MemoryReactorClock())
