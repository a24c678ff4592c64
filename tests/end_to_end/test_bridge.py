"""The bridge as a process: real UDP, real HTTP, other people's client and parser."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import statsd
from prometheus_client.parser import text_string_to_metric_families

from tests.end_to_end.programs import Start

COMMAND = [sys.executable, "-m", "statsd_bridge"]
SECONDS = 30.0
MAPPING = Path(__file__).parents[2] / "crocbot" / "mapping.yml"


def test_a_real_client_s_metrics_reach_a_real_scrape(start: Start) -> None:
    """Counters, gauges and timers of the PyPI client, read with somebody's parser."""
    bridge = start()
    client = statsd.StatsClient("127.0.0.1", bridge.udp)
    for _ in range(10):
        client.incr("hits")
    client.gauge("load", -3)
    client.timing("work", 250)
    with client.pipeline() as pipeline:
        pipeline.incr("packed", 2)
        pipeline.incr("packed", 3)
    client.incr("last")
    client.close()
    page = bridge.scrape_until("\nlast 1\n")
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }

    assert values["hits_total",] == 10
    assert values["load",] == -3
    assert values["work_sum",] == 0.25
    assert values["packed_total",] == 5
    assert values["process_resident_memory_bytes",] > 0
    assert bridge.stop() == 0


def test_lines_come_over_tcp(start: Start) -> None:
    """The PyPI client's stream, its last line included."""
    bridge = start("--statsd.listen-tcp=127.0.0.1:0")
    client = statsd.TCPStatsClient("127.0.0.1", bridge.tcp)
    for _ in range(5):
        client.incr("hits")
    client.close()
    page = bridge.scrape_until("\nhits 5\n")

    assert "statsd_exporter_tcp_connections_total 1.0\n" in page


def test_promtool_accepts_the_page(start: Start) -> None:
    """Prometheus' own linter has nothing against what crocbot's mapping makes."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is missing: Debian's package prometheus has it")
    bridge = start(f"--statsd.mapping-config={MAPPING}")
    client = statsd.StatsClient("127.0.0.1", bridge.udp)
    client.incr("crocbot.messages.text")
    client.timing("crocbot.telegram.latency.text", 320)
    client.gauge("crocbot.uptime", 5)
    client.close()
    page = bridge.scrape_until("crocbot_uptime_seconds 5\n")
    checked = subprocess.run(
        [promtool, "check", "metrics"],
        input=page,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    # statsd_exporter's own metrics break the linter's taste; their names are given.
    complaints = [
        line
        for line in (checked.stderr + checked.stdout).splitlines()
        if not line.startswith(("statsd_exporter_", "statsd_metric_mapper_"))
    ]

    assert complaints == []


def test_health_and_an_orderly_end(start: Start) -> None:
    """SIGTERM and SIGINT end it with 0."""
    for how in (signal.SIGTERM, signal.SIGINT):
        bridge = start()

        assert bridge.get("/-/healthy") == "Statsd Exporter is Healthy.\n"
        assert bridge.stop(how) == 0


def test_sighup_reads_the_rules_anew(start: Start, tmp_path: Path) -> None:
    """A good file holds from then on; a bad one changes nothing."""
    rules = tmp_path / "rules.yml"
    rules.write_text("")
    bridge = start(f"--statsd.mapping-config={rules}")
    rules.write_text("mappings: [{match: a.*, name: mapped}]")
    bridge.process.send_signal(signal.SIGHUP)
    bridge.scrape_until('config_reloads_total{outcome="success"} 1.0')
    rules.write_text("mappings: [{match: a..b, name: mapped}]")
    bridge.process.send_signal(signal.SIGHUP)
    page = bridge.scrape_until('config_reloads_total{outcome="failure"} 1.0')

    assert "statsd_exporter_loaded_mappings 1.0\n" in page


def mistake(*flags: str) -> tuple[int, str]:
    """Run a bridge that cannot start; gives exit code and stderr."""
    ended = subprocess.run(
        [*COMMAND, *flags], capture_output=True, text=True, timeout=SECONDS
    )
    return ended.returncode, ended.stderr


def test_a_port_in_use_is_one_line_and_exit_code_2() -> None:
    """The line names the flag and the address, for UDP and for HTTP."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
    ):
        udp.bind(("127.0.0.1", 0))
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp_port, tcp_port = udp.getsockname()[1], tcp.getsockname()[1]
        code, error = mistake(f"--statsd.listen-udp=127.0.0.1:{udp_port}")
        assert (code, error.count("\n")) == (2, 1)
        assert f"--statsd.listen-udp: cannot listen on 127.0.0.1:{udp_port}" in error
        code, error = mistake(
            "--statsd.listen-udp=127.0.0.1:0",
            f"--web.listen-address=127.0.0.1:{tcp_port}",
        )
        assert (code, error.count("\n")) == (2, 1)
        assert f"--web.listen-address: cannot listen on 127.0.0.1:{tcp_port}" in error


def test_a_bad_mapping_file_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    """The line names the file and the key."""
    rules = tmp_path / "rules.yml"
    rules.write_text("mappings: [{match: a..b, name: a}]")
    code, error = mistake(f"--statsd.mapping-config={rules}")

    assert code == 2
    assert f"{rules}: mappings[0].match: " in error
    assert error.count("\n") == 1
