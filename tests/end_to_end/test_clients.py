"""Clients that nobody here wrote, over real sockets."""

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

SECONDS = 120.0


class Doors:
    """One bridge with every sort of door, and its page by prefix."""

    def __init__(self, bridge: BridgeProcess, home: Path) -> None:
        self.bridge = bridge
        self.udp = bridge.udp
        self.tcp = bridge.tcp
        self.gram = str(home / "gram")
        self.stream = str(home / "stream")

    def values(self, prefix: str) -> dict[str, str]:
        """Wait for `<prefix>_last`; gives the series of this prefix."""
        page = self.bridge.scrape_until(f"\n{prefix}_last")
        pairs = [line.rpartition(" ") for line in page.split("\n")]
        return {
            name: value
            for name, _, value in pairs
            if name.startswith(f"{prefix}_") and "quantile" not in name
        }


@pytest.fixture(scope="module")
def doors(launch: Start, tmp_path_factory: Any) -> Doors:
    """Start the bridge."""
    home = tmp_path_factory.mktemp("doors")
    bridge = launch(
        "--statsd.listen-tcp=127.0.0.1:0",
        f"--statsd.listen-unixgram={home / 'gram'}",
        f"--statsd.listen-unixstream={home / 'stream'}",
    )
    return Doors(bridge.wait(), home)


@pytest.mark.parametrize("transport", ["udp", "tcp", "unix"])
@pytest.mark.parametrize("packed", [False, True])
def test_statsd(doors: Doors, transport: str, packed: bool) -> None:
    """PyPI's statsd: each method, one by one and in a pipeline."""
    prefix = f"pypi_{transport}_{packed}".lower()
    client: Any
    if transport == "udp":
        client = statsd.StatsClient("127.0.0.1", doors.udp, prefix)
    elif transport == "tcp":
        client = statsd.TCPStatsClient("127.0.0.1", doors.tcp, prefix)
    else:
        client = statsd.UnixSocketStatsClient(doors.stream, prefix)
    talker = client.pipeline() if packed else client
    talker.incr("hits", 5)
    talker.decr("hits", -1)
    talker.gauge("load", 5)
    talker.gauge("load", -2.5, delta=True)
    talker.gauge("below", -7)
    talker.timing("work", 250)
    talker.timing("work", 500)
    talker.set("users", "alice")
    talker.set("users", "bob")
    talker.incr("last")
    if packed:
        talker.send()
    client.close()
    values = doors.values(prefix)

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
    """Make Datadog's client; it keeps to this test."""
    quiet = {"disable_telemetry": True, "origin_detection_enabled": False}
    # It drops what the kernel does not take at once, unless it may wait.
    client = DogStatsd(**{**quiet, "socket_timeout": SECONDS, **options})
    try:
        yield client
    finally:
        client.stop()
        client.close_socket()


def talk_as_datadog(client: DogStatsd, prefix: str) -> None:
    """Use what Datadog's client has beside statsd."""
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
    doors: Doors, transport: str, buffered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Datadog's own client, with everything that it says of where it runs."""
    monkeypatch.setenv("DD_EXTERNAL_ENV", "it-false,cn-x,pu-y")
    prefix = f"datadog_{transport}_{buffered}".lower()
    to: dict[str, Any] = {"host": "127.0.0.1", "port": doors.udp}
    if transport == "unix":
        to = {"socket_path": doors.gram}
    with dogstatsd(
        **to,
        disable_buffering=not buffered,
        container_id="ci-abc",
        cardinality="low",
        constant_tags=["env:prod"],
    ) as client:
        talk_as_datadog(client, prefix)
    values = doors.values(prefix)
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


def test_datadog_without_tags(doors: Doors) -> None:
    """A container id needs no tags beside it."""
    with dogstatsd(host="127.0.0.1", port=doors.udp, container_id="in-123") as client:
        client.increment("bare.hits", 4)
        client.increment("bare.last")
    labels = '{container_id="in-123"}'

    assert doors.values("bare") == {
        f"bare_hits{labels}": "4",
        f"bare_last{labels}": "1",
    }


def test_datadog_s_own_telemetry(doors: Doors) -> None:
    """What the client tells of itself is understood, too."""
    with dogstatsd(
        host="127.0.0.1",
        port=doors.udp,
        disable_telemetry=False,
        telemetry_min_flush_interval=0,
    ) as client:
        client.increment("telemetry.last")
    page = doors.bridge.scrape_until("\ndatadog_dogstatsd_client_metrics{")

    assert 'client="py"' in page


async def test_aiodogstatsd(doors: Doors) -> None:
    """The client for asyncio: its types, tags and sample rates."""
    async with aiodogstatsd.Client(
        host="127.0.0.1", port=doors.udp, namespace="aio", constant_tags={"k": "v"}
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
    values = doors.values("aio")

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
    """Install npm's hot-shots; gives the folder."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node.js and npm are not both here")
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
        pytest.skip("npm does not come to an end")
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
def test_hot_shots(doors: Doors, hot_shots: Path, protocol: str) -> None:
    """npm's client in Datadog mode: tags, container id, events, checks."""
    port = doors.udp if protocol == "udp" else doors.tcp
    prefix = f"hot_{protocol}"
    subprocess.run(
        ["node", "-e", TALK, protocol, str(port), prefix],
        cwd=hot_shots,
        check=True,
        timeout=SECONDS,
    )
    labels = '{container_id="ci-1",env="prod"}'

    assert doors.values(prefix) == {
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


def test_nothing_that_they_said_was_refused(doors: Doors) -> None:
    """Not one of all these lines counted as an error, and events are told apart."""
    with dogstatsd(host="127.0.0.1", port=doors.udp) as client:
        talk_as_datadog(client, "again")
    page = doors.bridge.scrape_until("\nagain_last{")

    assert "sample_errors_total{" not in page
    assert "statsd_exporter_tag_errors_total 0.0\n" in page
    assert 'statsd_bridge_dogstatsd_dropped_total{kind="event"}' in page
    assert 'statsd_bridge_dogstatsd_dropped_total{kind="service_check"}' in page
