"""statsd clients of other projects, over real sockets."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiodogstatsd
import pytest
import statsd
from datadog.dogstatsd.base import DogStatsd

from tests.end_to_end.programs import Start

HOT_SHOTS = "hot-shots@17.1.1"

SECONDS = 120.0


class Server:
    """A bridge with every type of listener, and its series by prefix."""

    def __init__(self, launch: Start, home: Path) -> None:
        self.gram, self.stream = str(home / "gram"), str(home / "stream")
        self.bridge = launch(
            "--statsd.listen-tcp=127.0.0.1:0",
            f"--statsd.listen-unixgram={self.gram}",
            f"--statsd.listen-unixstream={self.stream}",
        ).wait()
        self.udp, self.tcp = self.bridge.udp, self.bridge.tcp

    def series(self, prefix: str) -> dict[str, str]:
        """Wait for `<prefix>_last`; return the series without that prefix."""
        page = self.bridge.scrape_until(f"\n{prefix}_last")
        pairs = [line.rpartition(" ") for line in page.split("\n")]
        return {
            name.removeprefix(f"{prefix}_"): value
            for name, _, value in pairs
            if name.startswith(f"{prefix}_") and "quantile" not in name
        }


@pytest.fixture(scope="module")
def server(launch: Start, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A bridge with every type of listener."""
    return Server(launch, tmp_path_factory.mktemp("sockets"))


def labelled(labels: str, **values: str) -> dict[str, str]:
    """Return values by names with labels."""
    return {f"{name}{{{labels}}}": value for name, value in values.items()}


@pytest.mark.parametrize("transport", ["udp", "tcp", "unix"])
@pytest.mark.parametrize("packed", [False, True])
def test_statsd(server: Server, transport: str, packed: bool) -> None:
    """PyPI's statsd: each method, one by one and in a pipeline."""
    prefix = f"pypi_{transport}_{packed}".lower()
    client: Any
    if transport == "udp":
        client = statsd.StatsClient("127.0.0.1", server.udp, prefix)
    elif transport == "tcp":
        client = statsd.TCPStatsClient("127.0.0.1", server.tcp, prefix)
    else:
        client = statsd.UnixSocketStatsClient(server.stream, prefix)
    target = client.pipeline() if packed else client
    target.incr("hits", 5)
    target.decr("hits", -1)
    target.gauge("load", 5)
    target.gauge("load", -2.5, delta=True)
    target.gauge("below", -7)
    target.timing("work", 250)
    target.timing("work", 500)
    target.set("users", "alice")
    target.set("users", "bob")
    target.incr("last")
    if packed:
        target.send()
    client.close()
    values = server.series(prefix)

    assert values == {
        "hits": "6",
        "load": "2.5",
        "below": "-7",
        "work_count": "2",
        "work_sum": "0.75",
        "users": "2",
        "last": "1",
    }


@contextmanager
def dogstatsd(**options: Any) -> Iterator[DogStatsd]:
    """Return Datadog's client without telemetry, unless the options ask for it."""
    quiet = {"disable_telemetry": True, "origin_detection_enabled": False}
    # Without a time-out it drops what the kernel does not take at once.
    client = DogStatsd(**{**quiet, "socket_timeout": SECONDS, **options})
    try:
        yield client
    finally:
        client.stop()
        client.close_socket()


def send_everything(client: DogStatsd, prefix: str) -> None:
    """Call each method of Datadog's client."""
    tags = ["route:/login", "verb:get"]
    client.increment(f"{prefix}.hits", 3, tags=tags)
    client.decrement(f"{prefix}.hits", -1, tags=tags)
    client.gauge(f"{prefix}.load", 2.5, tags=tags)
    client.histogram(f"{prefix}.size", 10, tags=tags)
    client.histogram(f"{prefix}.size", 20, tags=tags)
    client.distribution(f"{prefix}.depth", 7, tags=tags)
    client.timing(f"{prefix}.work", 250, tags=tags)
    client.set(f"{prefix}.users", "alice", tags=tags)
    client.count_with_timestamp(f"{prefix}.late", 2, 1656581400, tags=tags)
    client.event("a title", "a text\nin two lines", tags=tags, alert_type="error")
    client.service_check("a.check", DogStatsd.WARNING, tags=tags, message="m: x")
    client.increment(f"{prefix}.last", tags=tags)
    client.flush()


@pytest.mark.parametrize("transport", ["udp", "unix", "unixstream"])
@pytest.mark.parametrize("buffered", [False, True])
def test_datadog(
    server: Server, transport: str, buffered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Datadog's client, with container id, cardinality and external data."""
    monkeypatch.setenv("DD_EXTERNAL_ENV", "it-false,cn-x,pu-y")
    prefix = f"datadog_{transport}_{buffered}".lower()
    to: dict[str, Any] = {"host": "127.0.0.1", "port": server.udp}
    if transport == "unix":
        to = {"socket_path": server.gram}
    elif transport == "unixstream":
        # Each payload with its length before it.
        to = {"socket_path": f"unixstream://{server.stream}"}
    with dogstatsd(
        **to,
        disable_buffering=not buffered,
        container_id="ci-abc",
        cardinality="low",
        constant_tags=["env:prod"],
    ) as client:
        send_everything(client, prefix)

    assert server.series(prefix) == labelled(
        'container_id="ci-abc",env="prod",route="/login",verb="get"',
        **{"hits": "4", "load": "2.5", "users": "1", "late": "2", "last": "1"},
        **{"size_count": "2", "size_sum": "30"},
        **{"depth_count": "1", "depth_sum": "7"},
        **{"work_count": "1", "work_sum": "0.25"},
    )


def test_datadog_without_tags(server: Server) -> None:
    """A container id needs no tags beside it."""
    with dogstatsd(host="127.0.0.1", port=server.udp, container_id="in-123") as client:
        client.increment("bare.hits", 4)
        client.increment("bare.last")

    expected = labelled('container_id="in-123"', hits="4", last="1")
    assert server.series("bare") == expected


def test_datadog_s_own_telemetry(server: Server) -> None:
    """The metrics that the client sends about itself are accepted."""
    with dogstatsd(
        host="127.0.0.1",
        port=server.udp,
        disable_telemetry=False,
        telemetry_min_flush_interval=0,
    ) as client:
        client.increment("telemetry.last")
    page = server.bridge.scrape_until("\ndatadog_dogstatsd_client_metrics{")

    assert 'client="py"' in page


async def test_aiodogstatsd(server: Server) -> None:
    """The client for asyncio: its types, tags and sample rates."""
    async with aiodogstatsd.Client(
        host="127.0.0.1", port=server.udp, namespace="aio", constant_tags={"k": "v"}
    ) as client:
        client.increment("hits", value=3)
        client.decrement("hits", value=-1)
        client.gauge("load", value=2)
        client.histogram("size", value=10)
        client.distribution("depth", value=7, tags={"a": "b"})
        client.timing("work", value=250)
        with client.timeit("timed"):
            pass
        client.increment("last")
    values = server.series("aio")

    assert values.pop('timed_sum{k="v"}')
    assert values == {
        **labelled('a="b",k="v"', depth_count="1", depth_sum="7"),
        **labelled('k="v"', hits="4", load="2", timed_count="1", last="1"),
        **labelled('k="v"', size_count="1", size_sum="10"),
        **labelled('k="v"', work_count="1", work_sum="0.25"),
    }


@pytest.fixture(scope="module")
def hot_shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install npm's hot-shots; return its folder."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node.js or npm is missing")
    folder = tmp_path_factory.mktemp("node")
    # Without its optional part, which a compiler would have to build.
    flags = ("--no-audit", "--no-fund", "--ignore-scripts", "--omit=optional")
    retries = ("--fetch-retries=0", "--fetch-timeout=20000")
    try:
        done = subprocess.run(
            [npm, "install", *flags, *retries, "--prefix", str(folder), HOT_SHOTS],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            cwd=folder,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm does not end in time")
    if done.returncode:
        pytest.skip(f"npm cannot install it: {done.stderr.strip()[-200:]}")
    return folder


TALK = """
const StatsD = require('hot-shots');
const [protocol, port, prefix] = process.argv.slice(1);
const client = new StatsD({
  protocol, port: Number(port), host: '127.0.0.1', prefix: prefix + '.',
  datadog: true, containerID: 'ci-1', cardinality: 'low',
  includeDatadogTelemetry: false, globalTags: {env: 'prod'},
  errorHandler: error => { console.error(error); process.exit(1); },
});
client.increment('hits', 3, {verb: 'get'});
client.increment('hits', ['verb:get']);
client.gauge('load', 2.5);
client.gaugeDelta('load', -0.5);
client.histogram('size', 10);
client.distribution('depth', 7);
client.timing('work', 250);
client.set('users', 'alice');
client.event('a title', 'a text');
client.check('a.check', client.CHECKS.WARNING, {message: 'm'});
client.increment('last');
client.close();
"""


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_hot_shots(server: Server, hot_shots: Path, protocol: str) -> None:
    """npm's client in Datadog mode: tags, container id, events, checks."""
    port = server.udp if protocol == "udp" else server.tcp
    prefix = f"hot_{protocol}"
    subprocess.run(
        ["node", "-e", TALK, protocol, str(port), prefix],
        cwd=hot_shots,
        check=True,
        timeout=SECONDS,
    )
    labels = 'container_id="ci-1",env="prod"'

    assert server.series(prefix) == {
        **labelled(f'{labels},verb="get"', hits="4"),
        **labelled(labels, load="2", users="1", last="1"),
        **labelled(labels, size_count="1", size_sum="10"),
        **labelled(labels, depth_count="1", depth_sum="7"),
        **labelled(labels, work_count="1", work_sum="0.25"),
    }


def test_no_line_of_a_client_is_an_error(server: Server) -> None:
    """DogStatsD events and service checks are counted as such."""
    with dogstatsd(host="127.0.0.1", port=server.udp) as client:
        send_everything(client, "again")
    page = server.bridge.scrape_until("\nagain_last{")

    assert "sample_errors_total{" not in page
    assert "statsd_exporter_tag_errors_total 0.0\n" in page
    assert 'statsd_bridge_dogstatsd_dropped_total{kind="event"}' in page
    assert 'statsd_bridge_dogstatsd_dropped_total{kind="service_check"}' in page
