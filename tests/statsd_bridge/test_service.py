"""The wiring: reload, expiry and the page, on a reactor in memory."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from statsd_bridge import log
from statsd_bridge.debug import DebugPipeline
from statsd_bridge.errors import ConfigError
from statsd_bridge.fastpath import FastPipeline
from statsd_bridge.inspection import CardinalityQuery
from statsd_bridge.inspection.growth import GROWTH_SAMPLES, SAMPLE_SECONDS
from statsd_bridge.inspection.steps import run_at_once
from statsd_bridge.inspection.traffic import STEP_SECONDS
from statsd_bridge.listener import ConnectionLimits, InheritedSockets
from statsd_bridge.model import HostPort
from statsd_bridge.service.bridge import Bridge
from statsd_bridge.service.build import Components
from statsd_bridge.service.process import TwistedErrors
from statsd_bridge.settings import Settings

RULES = "mappings: [{match: a.*, name: a_total, labels: {x: $1}}]"


class ThreadsAtOnce:
    """Threads that make each call before they return."""

    def run(self, function: Any, *args: Any) -> Deferred[Any]:
        """Call a function."""
        return maybeDeferred(function, *args)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A mapping file."""
    file = tmp_path / "rules.yml"
    file.write_text(RULES)
    return file


@pytest.fixture
def reactor() -> MemoryReactorClock:
    """A reactor in memory."""
    return MemoryReactorClock()


def new_bridge(
    rules: Path, reactor: MemoryReactorClock, log_level: str = "info"
) -> Bridge:
    """Return a bridge that listens on UDP."""
    settings = Settings(
        listen_udp=HostPort("127.0.0.1", 0),
        mapping_config=str(rules),
        read_buffer=0,
        log_level=log_level,
    )
    return Bridge(
        Components(
            settings,
            reactor,
            inherited=InheritedSockets({}),
            limits=ConnectionLimits(),
            threads=ThreadsAtOnce(),
        )
    )


@pytest.fixture
def bridge(rules: Path, reactor: MemoryReactorClock) -> Iterator[Bridge]:
    """A bridge with a real UDP socket that the reactor does not read."""
    bridge = new_bridge(rules, reactor)
    bridge.start()
    yield bridge
    bridge.close()


@pytest.fixture
def send(bridge: Bridge, reactor: MemoryReactorClock) -> Callable[[bytes], None]:
    """Send a datagram to the bridge."""

    def send(data: bytes) -> None:
        (reader,) = reactor.readers
        with socket.fromfd(reader.fileno(), socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(data, sock.getsockname())

    return send


def page(bridge: Bridge) -> str:
    """Scrape."""
    return b"".join(bridge.http.render_metrics("").slices).decode()


def reload(bridge: Bridge) -> str:
    """Reload the rules; return why they are refused."""
    answers: list[str] = []
    bridge.http.reload().addCallback(answers.append)
    return answers[0]


def test_a_good_file_replaces_the_rules(bridge: Bridge, rules: Path) -> None:
    """After a reload the new rules are in force, and the success is counted."""
    assert "statsd_exporter_loaded_mappings 1.0\n" in page(bridge)
    rules.write_text("")

    assert reload(bridge) == ""
    text = page(bridge)
    assert "statsd_exporter_loaded_mappings 0.0\n" in text
    assert 'statsd_exporter_config_reloads_total{outcome="success"} 1.0\n' in text


def test_a_bad_file_changes_nothing(bridge: Bridge, rules: Path) -> None:
    """The reason is returned, the old rules stay, the failure is counted."""
    rules.write_text("mappings: [{match: a..b, name: a}]")

    assert "match" in reload(bridge)
    text = page(bridge)
    assert "statsd_exporter_loaded_mappings 1.0\n" in text
    assert 'statsd_exporter_config_reloads_total{outcome="failure"} 1.0\n' in text


def test_a_bad_file_at_start_is_an_error(
    rules: Path, reactor: MemoryReactorClock
) -> None:
    """A bridge does not start with rules that it cannot read."""
    rules.write_text("mappings: 7")
    with pytest.raises(ConfigError, match="mappings"):
        new_bridge(rules, reactor)


@pytest.mark.parametrize("level", ["debug", "info", "warn", "error"])
def test_lines_are_logged_at_level_debug_only(
    level: str, rules: Path, reactor: MemoryReactorClock
) -> None:
    """At other levels no code for it is in the path."""
    pipeline = new_bridge(rules, reactor, level).components.pipeline

    assert isinstance(pipeline, DebugPipeline if level == "debug" else FastPipeline)


def test_series_expire(
    bridge: Bridge,
    reactor: MemoryReactorClock,
    send: Callable[[bytes], None],
    rules: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every second, and never before their numbers are flushed."""
    rules.write_text("mappings: [{match: b, name: b, ttl: 1ns}]")
    reload(bridge)
    send(b"b:1|c")
    send(b"b:1|c")
    send(b"b:1|c")
    bridge.listeners.drain()
    assert "statsd_bridge_series 1.0\n" in page(bridge)

    send(b"b:1|c")
    bridge.listeners.drain()
    with monkeypatch.context() as patched:
        patched.setattr(type(bridge.components.pipeline), "flush", None)
        reactor.advance(1)
    assert "\nb 4\n" in page(bridge)
    reactor.advance(1)
    assert "statsd_bridge_series 0.0\n" in page(bridge)


def test_an_error_in_twisted_s_log_is_a_bug(bridge: Bridge) -> None:
    """It is an uncaught exception, in an event of either kind; a warning is not."""
    observe = TwistedErrors(bridge.components.bugs)
    failure = Failure(ValueError("x"))
    observe({"log_level": LogLevel.warn, "log_format": "x"})
    observe({"log_level": LogLevel.critical, "log_failure": failure})
    observe({"log_level": LogLevel.critical, "failure": failure, "log_text": "x"})

    assert "statsd_bridge_bugs_total 2.0\n" in page(bridge)


def test_an_error_without_an_exception_is_formatted(bridge: Bridge) -> None:
    """It is not a bug, and its text is in the log."""
    stream = io.StringIO()
    log.configure("info", "logfmt", stream=stream)
    observe = TwistedErrors(bridge.components.bugs)
    observe({"log_level": LogLevel.error, "log_format": "no {what}", "what": "room\n"})

    assert 'error="no room\\n"' in stream.getvalue()
    assert "statsd_bridge_bugs_total 0.0\n" in page(bridge)


def test_the_page_has_a_history(
    bridge: Bridge, reactor: MemoryReactorClock, send: Callable[[bytes], None]
) -> None:
    """Looks at the counters and samples of families are taken while it runs."""
    inspector = bridge.http.inspector
    send(b"a.b:1|c")
    (before,) = run_at_once(inspector.cardinality(CardinalityQuery()))["families"]
    for _ in range(int((GROWTH_SAMPLES + 1) * SAMPLE_SECONDS / STEP_SECONDS)):
        reactor.advance(STEP_SECONDS)
    (after,) = run_at_once(inspector.cardinality(CardinalityQuery()))["families"]

    assert (before["growth"], after["growth"]) == (1, 0)
    charts = inspector.traffic()
    assert set(charts["series"]) == {1}
    assert charts["lines"]["udp"][0] > 0
