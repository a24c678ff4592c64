"""The page of a full run, as Prometheus scrapes it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from crocbot.model import ErrorType, MessageType, ReconnectReason, Severity
from crocbot.sandbox import users
from crocbot.sandbox.metrics_page import ERRORS, LATENCY, MESSAGES, RECONNECTS, UPTIME
from tests.end_to_end.world import open_world

LINES = (
    users.text("hello"),
    users.text("again"),
    users.command("start", ""),
    users.photo("Look"),
)


class Pages(NamedTuple):
    """The pages before the first message and after the last."""

    content_type: str
    before: str
    after: str


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """Run everything once: four messages, all answered."""
    return asyncio.run(collect(tmp_path_factory.mktemp("pages")))


async def collect(home: Path) -> Pages:
    """Return the pages of one run."""
    async with open_world(home) as world:
        await world.start_bridge()
        gateway = await world.start_gateway()
        await world.eventually(lambda: world.values(RECONNECTS))
        before = await world.text()
        for line in LINES:
            world.users.members[0].send(line)
        assert await world.users.members[0].wait_answered()
        assert await gateway.stop() == 0

        async def counted() -> bool:
            return sum((await world.values(MESSAGES)).values()) == len(LINES)

        await world.eventually(counted)
        assert world.users.mistakes == []
        async with aiohttp.ClientSession() as session, session.get(world.url) as page:
            assert page.status == 200
            return Pages(page.headers["Content-Type"], before, await page.text())


def families(text: str) -> dict[str, Metric]:
    """Return the metrics of a page, read by the official parser."""
    return {family.name: family for family in text_string_to_metric_families(text)}


def values(text: str, name: str) -> dict[tuple[str, ...], float]:
    """Return the values of one metric by its label values."""
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in families(text).values()
        for sample in family.samples
        if sample.name == name
    }


def test_it_is_prometheus_text(pages: Pages) -> None:
    """The header has the content type of the text format."""
    assert pages.content_type.startswith("text/plain; version=0.0.4")


def test_promtool_accepts_it(pages: Pages) -> None:
    """Prometheus' own linter accepts all names of the project.

    What it says about names that others chose is none of our business.
    """
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=pages.after,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if "crocbot" in line]

    assert complaints == []
    # 3 is the code for complaints about style.
    assert done.returncode in (0, 3), done.stderr


def test_everything_exists_before_the_first_message(pages: Pages) -> None:
    """Counters are 0 from the start for all label values; the uptime is there."""
    zero: dict[str, Any] = {
        MESSAGES: {(str(kind),): 0 for kind in MessageType},
        ERRORS: {(str(s), str(t)): 0 for s in Severity for t in ErrorType},
        RECONNECTS: {(str(reason),): 0 for reason in ReconnectReason},
    }

    assert {name: values(pages.before, name) for name in zero} == zero
    assert values(pages.before, UPTIME)[()] >= 0


def test_the_five_metrics_have_their_values(pages: Pages) -> None:
    """Four messages are counted by type, with latencies, no error, no reconnect."""
    after = pages.after
    expected = {("text",): 2, ("command",): 1, ("media",): 1}

    assert values(after, MESSAGES) == expected
    assert values(after, f"{LATENCY}_count") == expected
    assert all(value > 0 for value in values(after, f"{LATENCY}_sum").values())
    assert set(values(after, ERRORS).values()) == {0}
    assert set(values(after, RECONNECTS).values()) == {0}
    assert values(after, UPTIME)[()] > 0


def test_the_five_metrics_have_their_types(pages: Pages) -> None:
    """They are a gauge, counters, and a histogram with the documented buckets."""
    found = families(pages.after)
    names = (UPTIME, MESSAGES, ERRORS, LATENCY, RECONNECTS)
    types = [found[name.removesuffix("_total")].type for name in names]
    buckets = [
        sample.labels["le"]
        for sample in found[LATENCY].samples
        if sample.name.endswith("_bucket") and sample.labels["type"] == "text"
    ]

    assert types == ["gauge", "counter", "counter", "histogram", "counter"]
    assert [float(bound) for bound in buckets] == [
        *(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
        float("inf"),
    ]


def test_the_bridge_has_metrics_of_itself(pages: Pages) -> None:
    """The bridge's process and Python are on the page, and so are the gateway's."""
    names = set(families(pages.after))

    assert {"process_resident_memory_bytes", "python_info"} <= names
    assert "crocbot_process_resident_memory_bytes" in names
    assert values(pages.after, "statsd_exporter_lines_total")[()] > 0


def test_every_gateway_metric_is_mapped(pages: Pages) -> None:
    """No metric of the gateway has an unmapped name."""
    known = ("crocbot_", "process_", "promhttp_", "python_", "statsd_")
    strangers = [name for name in families(pages.after) if not name.startswith(known)]

    assert strangers == []
    assert values(pages.after, "statsd_exporter_events_unmapped_total")[()] == 0
