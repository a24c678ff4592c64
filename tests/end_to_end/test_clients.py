"""statsd clients of other projects, over sockets."""

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

from tests.end_to_end.programs import BridgeProcess, Start

HOT_SHOTS = "hot-shots@17.1.1"

TIMEOUT_SECONDS = 120.0


class Listeners:
    """One bridge with all listeners, and its page by prefix."""

    def __init__(self, bridge: BridgeProcess, home: Path) -> None:
        self.bridge = bridge
        self.udp = bridge.udp
        self.tcp = bridge.tcp
        self.gram = str(home / "gram")
        self.stream = str(home / "stream")

    def values(self, prefix: str) -> dict[str, str]:
        """Wait for `<prefix>_last`; return the series with a prefix."""
        page = self.bridge.scrape_until(f"\n{prefix}_last")
        pairs = [line.rpartition(" ") for line in page.split("\n")]
        return {
            name: value
            for name, _, value in pairs
            if name.startswith(f"{prefix}_") and "quantile" not in name
        }


@pytest.fixture(scope="module")
def bridge(launch: Start, tmp_path_factory: Any) -> Listeners:
    """Start the bridge."""
    home = tmp_path_factory.mktemp("doors")
    bridge = launch(
        "--statsd.listen-tcp=127.0.0.1:0",
        f"--statsd.listen-unixgram={home / 'gram'}",
        f"--statsd.listen-unixstream={home / 'stream'}",
    )
    return Listeners(bridge.wait(), home)


@pytest.mark.parametrize("transport", ["udp", "tcp", "unix"])
@pytest.mark.parametrize("packed", [False, True])
def test_statsd(bridge: Listeners, transport: str, packed: bool) -> None:
    """All methods of PyPI's statsd, one by one and in a pipeline."""
    prefix = f"pypi_{transport}_{packed}".lower()
    client: Any
    if transport == "udp":
        client = statsd.StatsClient("127.0.0.1", bridge.udp, prefix)
    elif transport == "tcp":
        client = statsd.TCPStatsClient("127.0.0.1", bridge.tcp, prefix)
    else:
        client = statsd.UnixSocketStatsClient(bridge.stream, prefix)
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
    values = bridge.values(prefix)

    assert values == {
        f"{prefix}_hits": "6",
        f"{prefix}_load": "2.5",
        f"{prefix}_below": "-7",
        f"{prefix}_work_count": "2",
        f"{prefix}_work_sum": "0.75",
        f"{prefix}_users": "2",
        f"{prefix}_last": "1",
    }


@contextmanager
def dogstatsd(**options: Any) -> Iterator[DogStatsd]:
    """Open a client of Datadog, and close it."""
    quiet = {"disable_telemetry": True, "origin_detection_enabled": False}
    # Without a time-out it drops what the kernel does not accept at once.
    client = DogStatsd(**{**quiet, "socket_timeout": TIMEOUT_SECONDS, **options})
    try:
        yield client
    finally:
        client.stop()
        client.close_socket()


def send_all(client: DogStatsd, prefix: str) -> None:
    """Call all methods of Datadog's client."""
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


@pytest.mark.parametrize("transport", ["udp", "unix"])
@pytest.mark.parametrize("buffered", [False, True])
def test_datadog(
    bridge: Listeners, transport: str, buffered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All methods of Datadog's client, with all origin fields."""
    monkeypatch.setenv("DD_EXTERNAL_ENV", "it-false,cn-x,pu-y")
    prefix = f"datadog_{transport}_{buffered}".lower()
    to: dict[str, Any] = {"host": "127.0.0.1", "port": bridge.udp}
    if transport == "unix":
        to = {"socket_path": bridge.gram}
    with dogstatsd(
        **to,
        disable_buffering=not buffered,
        container_id="ci-abc",
        cardinality="low",
        constant_tags=["env:prod"],
    ) as client:
        send_all(client, prefix)
    values = bridge.values(prefix)
    labels = '{container_id="ci-abc",env="prod",route="/login",verb="get"}'

    assert values == {
        f"{prefix}_hits{labels}": "4",
        f"{prefix}_load{labels}": "2.5",
        f"{prefix}_size_count{labels}": "2",
        f"{prefix}_size_sum{labels}": "30",
        f"{prefix}_depth_count{labels}": "1",
        f"{prefix}_depth_sum{labels}": "7",
        f"{prefix}_work_count{labels}": "1",
        f"{prefix}_work_sum{labels}": "0.25",
        f"{prefix}_users{labels}": "1",
        f"{prefix}_late{labels}": "2",
        f"{prefix}_last{labels}": "1",
    }


def test_datadog_without_tags(bridge: Listeners) -> None:
    """A container id works without tags."""
    with dogstatsd(host="127.0.0.1", port=bridge.udp, container_id="in-123") as client:
        client.increment("bare.hits", 4)
        client.increment("bare.last")
    labels = '{container_id="in-123"}'

    assert bridge.values("bare") == {
        f"bare_hits{labels}": "4",
        f"bare_last{labels}": "1",
    }


def test_datadog_s_own_telemetry(bridge: Listeners) -> None:
    """The client's own metrics are counted."""
    with dogstatsd(
        host="127.0.0.1",
        port=bridge.udp,
        disable_telemetry=False,
        telemetry_min_flush_interval=0,
    ) as client:
        client.increment("telemetry.last")
    page = bridge.bridge.scrape_until("\ndatadog_dogstatsd_client_metrics{")

    assert 'client="py"' in page


async def test_aiodogstatsd(bridge: Listeners) -> None:
    """All methods of the asyncio client, with tags."""
    async with aiodogstatsd.Client(
        host="127.0.0.1", port=bridge.udp, namespace="aio", constant_tags={"k": "v"}
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
    values = bridge.values("aio")

    assert values.pop('aio_timed_sum{k="v"}')
    assert values == {
        'aio_hits{k="v"}': "4",
        'aio_load{k="v"}': "2",
        'aio_size_count{k="v"}': "1",
        'aio_size_sum{k="v"}': "10",
        'aio_depth_count{a="b",k="v"}': "1",
        'aio_depth_sum{a="b",k="v"}': "7",
        'aio_work_count{k="v"}': "1",
        'aio_work_sum{k="v"}': "0.25",
        'aio_timed_count{k="v"}': "1",
        'aio_last{k="v"}': "1",
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
            timeout=TIMEOUT_SECONDS,
            cwd=folder,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm does not end")
    if done.returncode:
        pytest.skip(f"npm cannot install it: {done.stderr.strip()[-200:]}")
    return folder


SCRIPT = """
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
def test_hot_shots(bridge: Listeners, hot_shots: Path, protocol: str) -> None:
    """npm's client in Datadog mode: tags, container id, events, checks."""
    port = bridge.udp if protocol == "udp" else bridge.tcp
    prefix = f"hot_{protocol}"
    subprocess.run(
        ["node", "-e", SCRIPT, protocol, str(port), prefix],
        cwd=hot_shots,
        check=True,
        timeout=TIMEOUT_SECONDS,
    )
    labels = '{container_id="ci-1",env="prod"}'

    assert bridge.values(prefix) == {
        f'{prefix}_hits{{container_id="ci-1",env="prod",verb="get"}}': "4",
        f"{prefix}_load{labels}": "2",
        f"{prefix}_size_count{labels}": "1",
        f"{prefix}_size_sum{labels}": "10",
        f"{prefix}_depth_count{labels}": "1",
        f"{prefix}_depth_sum{labels}": "7",
        f"{prefix}_work_count{labels}": "1",
        f"{prefix}_work_sum{labels}": "0.25",
        f"{prefix}_users{labels}": "1",
        f"{prefix}_last{labels}": "1",
    }


def test_no_line_was_refused(bridge: Listeners) -> None:
    """No line counted as an error; events and service checks have their counter."""
    with dogstatsd(host="127.0.0.1", port=bridge.udp) as client:
        send_all(client, "again")
    page = bridge.bridge.scrape_until("\nagain_last{")

    assert "sample_errors_total{" not in page
    assert "statsd_exporter_tag_errors_total 0.0\n" in page
    assert 'statsd_bridge_dogstatsd_dropped_total{kind="event"}' in page
    assert 'statsd_bridge_dogstatsd_dropped_total{kind="service_check"}' in page
