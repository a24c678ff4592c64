"""Prometheus itself sees no reset over restarts with --storage.file."""

from __future__ import annotations

import socket
from itertools import pairwise
from pathlib import Path

from tests.end_to_end.programs import Start
from tests.end_to_end.test_storage import Sender, started_by_systemd
from tests.end_to_end.web.prometheus import Server, prometheus
from tests.ports import HOST

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: bridge
  static_configs: [{{targets: ['127.0.0.1:{port}']}}]
"""

RULES = "mappings: [{match: work.*, name: work, observer_type: histogram}]"

RESTARTS = 4


def test_increase_is_exact_over_restarts(launch: Start, tmp_path: Path) -> None:
    """Counters and histograms of a sender that never stops: none lost or twice."""
    rules = tmp_path / "rules.yml"
    rules.write_text(RULES)
    flags = (
        f"--storage.file={tmp_path / 'series'}",
        f"--statsd.mapping-config={rules}",
    )
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outgoing,
        socket.create_server((HOST, 0), backlog=16) as http,
    ):
        udp.bind((HOST, 0))
        outgoing.connect(udp.getsockname())
        start = started_by_systemd(launch, udp, http)
        config = CONFIG.format(port=http.getsockname()[1])
        bridge = start(*flags)
        outgoing.send(b"steady:0|c\nwork.a:0|ms")
        bridge.scrape_until("\nsteady 0\n")
        with prometheus(tmp_path, config) as server:
            server.eventually(lambda: server.value("work_count") == 1)
            sender = Sender(outgoing, b"steady:1|c\nwork.a:5|ms")
            for _ in range(RESTARTS):
                seen = server.value("steady") or 0.0
                server.eventually(lambda: (server.value("steady") or 0.0) > seen)  # noqa: B023
                assert bridge.stop() == 0
                bridge = start(*flags)
            sent = sender.close()
            # A scrape that takes too long has no values, and the next one has them.
            for query, value in (
                ("steady", sent),
                ('work_bucket{le="+Inf"}', sent + 1),
                ("resets(steady[1h])", 0),
            ):
                server.eventually(lambda: server.value(query) == value)  # noqa: B023
            samples = all_samples(server, "steady")

            assert samples == sorted(samples)
            assert increase(server, "steady") == sent
            assert increase(server, "work_count") == sent
            assert increase(server, 'work_bucket{le="0.005"}') == sent


def all_samples(server: Server, series: str) -> list[float]:
    """Return the values of a series at all scrapes."""
    [found] = server.ask("query", query=f"{series}[1h]")["result"]
    return [float(value) for _, value in found["values"]]


def increase(server: Server, series: str) -> float:
    """Return the increase over all scrapes, resets included, as PromQL computes it."""
    samples = all_samples(server, series)
    return sum(
        later - earlier if later >= earlier else later
        for earlier, later in pairwise(samples)
    )
