"""Prometheus itself scrapes: over TLS with users, in OpenMetrics and in text."""

from __future__ import annotations

import base64
import http.server
import json
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.end_to_end.programs import BridgeProcess, Start
from tests.end_to_end.web.prometheus import PATIENCE, Series, Server, prometheus

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: openmetrics
  scheme: https
  tls_config: {{ca_file: {ca}, cert_file: {cert}, key_file: {key}}}
  basic_auth: {{username: prometheus, password: secret}}
  static_configs: [{{targets: ['127.0.0.1:{bridge}']}}]
- job_name: text
  static_configs: [{{targets: ['127.0.0.1:{proxy}']}}]
- job_name: wrong_password
  scheme: https
  tls_config: {{ca_file: {ca}, cert_file: {cert}, key_file: {key}}}
  basic_auth: {{username: prometheus, password: wrong}}
  static_configs: [{{targets: ['127.0.0.1:{bridge}']}}]
"""

LINES = [
    b"hits:3|c",
    b"hits_total:4|c|#k:v",
    b"below:-1|g\nnan:nan|g\nplus:inf|g",
    b"nan_counter:nan|c",
    b"work:250|ms\nwork:500|ms|@0.1|#a:b",
    b"below_zero:-5|h",
    b"nan_sum:nan|h",
    b"users:alice|s\nusers:bob|s",
    b'odd:1|c|#q:a"b\\c d,u:\xc3\xbc',
    b"info:1|g\nthing_info:1|g\nthing_created:5|g\nthing_bucket:1|c",
    b"h.one:20|h\nh.one:0.02|h|#k:v\nh.below:-3|h",
    b"helped:1|c\nlong_count:1|c\nlong_sum:1|g",
]

RULES = r"""
mappings:
- {match: h.*, name: hist_$1, observer_type: histogram}
- {match: helped, name: helped_total, help: "a \\ b\nc \"d\""}
"""


class Text(http.server.BaseHTTPRequestHandler):
    """Asks the bridge for text, although Prometheus prefers OpenMetrics."""

    fetch: Any

    def do_GET(self) -> None:
        """Forward the page."""
        with self.fetch() as response:
            page, content_type = response.read(), response.headers["Content-Type"]
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@contextmanager
def proxy(fetch: Callable[[], Any]) -> Iterator[int]:
    """Run a server that forwards text; yield its port."""
    handler = type("Handler", (Text,), {"fetch": staticmethod(fetch)})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield int(served.server_address[1])
        served.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def bridge(
    launch: Start,
    authority: Any,
    hashed: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """Start a bridge that requires certificates and passwords."""
    home = tmp_path_factory.mktemp("bridge")
    (home / "rules.yml").write_text(RULES)
    cert, key = authority.issue("server")
    tls = {
        "cert_file": str(cert),
        "key_file": str(key),
        "client_ca_file": str(authority.file),
        "client_auth_type": "RequireAndVerifyClientCert",
    }
    users = {"prometheus": hashed("secret")}
    web = {"tls_server_config": tls, "basic_auth_users": users}
    # JSON is YAML.
    (home / "web.yml").write_text(json.dumps(web))
    started = launch(
        f"--statsd.mapping-config={home / 'rules.yml'}",
        f"--web.config.file={home / 'web.yml'}",
    ).wait()
    started.send(*LINES)
    return started


@pytest.fixture(scope="module")
def server(
    bridge: BridgeProcess, authority: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Start a Prometheus that scrapes the bridge."""
    home = tmp_path_factory.mktemp("prometheus")
    cert, key = authority.issue("prometheus")
    context = ssl.create_default_context(cafile=str(authority.file))
    context.load_cert_chain(cert, key)
    secret = base64.b64encode(b"prometheus:secret").decode()
    request = urllib.request.Request(
        f"https://127.0.0.1:{bridge.http}/metrics",
        headers={"Authorization": f"Basic {secret}", "Accept": "text/plain"},
    )

    def fetch() -> Any:
        return urllib.request.urlopen(request, timeout=PATIENCE, context=context)

    with proxy(fetch) as text_port:
        config = CONFIG.format(
            ca=authority.file,
            cert=cert,
            key=key,
            bridge=bridge.http,
            proxy=text_port,
        )
        with prometheus(home, config) as server:
            yield server


OWN = ("statsd_", "process_", "python_", "promhttp_")
SCRAPED = ("up", "scrape_")


def names(series: Series) -> set[str]:
    """The names of series, without those that Prometheus adds."""
    return {key[0] for key in series if not key[0].startswith(SCRAPED)}


def scraped(server: Server, job: str) -> Series:
    """Return the series of a job, once its newest scrape has brought them."""
    return server.eventually(
        lambda: found if sent(found := server.series(job)) else None
    )


def sent(series: Series) -> Series:
    """The series that were sent over statsd."""
    return {
        key: value
        for key, value in series.items()
        if not key[0].startswith((*OWN, *SCRAPED))
    }


def test_prometheus_scrapes_over_tls_with_a_certificate_and_a_user(
    server: Server,
) -> None:
    """Up and without errors with the right password, down with a wrong one."""

    def as_they_should_be() -> bool:
        targets = server.targets(3)
        # A single scrape may take too long.
        return (
            targets["openmetrics"]["lastError"] == ""
            and targets["openmetrics"]["health"] == "up"
            and targets["text"]["lastError"] == ""
            and targets["wrong_password"]["health"] == "down"
            and "401" in targets["wrong_password"]["lastError"]
        )

    assert server.eventually(as_they_should_be)


def test_both_formats_bring_the_same_series(server: Server) -> None:
    """The same names, labels and values in both formats."""
    open_metrics, text = scraped(server, "openmetrics"), scraped(server, "text")

    assert sent(open_metrics) == sent(text)
    assert names(open_metrics) == names(text)
    assert len(sent(text)) > 50


def test_the_values_are_those_that_were_sent(server: Server) -> None:
    """A few of each type, as Prometheus stores them."""
    found = scraped(server, "openmetrics")

    assert found["hits",] == "3"
    assert found["hits_total", ("k", "v")] == "4"
    assert found["nan",] == "NaN"
    assert found["plus",] == "+Inf"
    assert found["work_count", ("a", "b")] == "10"
    assert found["users",] == "2"
    assert found["odd", ("q", 'a"b\\c d'), ("u", "\u00fc")] == "1"
    assert found["hist_one_bucket", ("le", "+Inf")] == "1"
    assert found["helped_total",] == "1"


def test_help_and_types_are_kept(server: Server) -> None:
    """Prometheus shows the help text and the type of the rules."""
    for job in ("openmetrics", "text"):
        scraped(server, job)
    metadata = {
        each["target"]["job"]: each
        for each in server.ask("targets/metadata", metric="helped_total")
        + server.ask("targets/metadata", metric="helped")
    }

    assert metadata["text"]["help"] == 'a \\ b\nc "d"'
    assert {each["type"] for each in metadata.values()} == {"counter"}
    assert {each["help"] for each in metadata.values()} == {'a \\ b\nc "d"'}
