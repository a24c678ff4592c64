"""
From nothing to graphs, and what happens when a part of it goes away.

The tests share one stack, in the order of this file; each leaves it whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from crocbot.sandbox.server import TOKEN

MISSION = (
    "crocbot_uptime_seconds",
    "crocbot_messages_total",
    "crocbot_errors_total",
    "crocbot_telegram_latency_seconds_count",
    "crocbot_telegram_reconnects_total",
)
OURS = ("gateway", "bridge", "sandbox")
ALL = (*OURS, "prometheus")
MEGABYTE = 1_000_000

# In queries: an agent that streams, and what goes wrong.
NEVER_HERE = (
    "crocbot_agent_",
    "crocbot_telegram_first_text_seconds",
    "changes(crocbot_process_start_time_seconds",
    'outcome!="ok"',
    "statsd_exporter_events_error_total",
    "statsd_exporter_sample_errors_total",
    "statsd_bridge_series_refused_total",
)

# A webhook that prints what it gets.
HOOK = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.rfile.read(int(self.headers["content-length"])), flush=True)
        self.send_response(200)
        self.end_headers()
HTTPServer(("", 8000), Hook).serve_forever()
"""
FOLDER = Path(__file__).parents[2] / "compose" / "grafana" / "dashboards"
DASHBOARDS = sorted(FOLDER.glob("*.json"))


@pytest.mark.parametrize("name", MISSION)
def test_a_first_up_shows_traffic(stack: Any, name: str) -> None:
    """Without any setting Prometheus has the metric, and people are answered."""
    stack.until(lambda: stack.query(name))
    stack.answer_more(1)


def test_rules_and_targets_are_good(stack: Any) -> None:
    """Prometheus scrapes the bridge and itself, and evaluates every rule."""
    stack.until(lambda: stack.value("count(up == 1)") == 2)
    groups = stack.prometheus("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]

    stack.until(lambda: {each["health"] for each in rules} <= {"ok", "unknown"})
    assert [rule["name"] for rule in rules if rule.get("lastError")] == []


def test_what_people_wrote_is_what_is_counted(stack: Any) -> None:
    """People, the gateway's ledger in Prometheus, and the bridge's page agree."""
    sandbox = stack.container("sandbox")
    sandbox.stop(timeout=30)
    verdict = json.loads(stack.lines("sandbox")[-1])
    assert verdict["mistakes"] == 0
    assert verdict["sent"] == verdict["answered"]

    def counted() -> dict[str, float]:
        return {
            each["metric"]["type"]: float(each["value"][1])
            for each in stack.query("crocbot_messages_total > 0")
        }

    stack.until(lambda: counted() == verdict["sent"])
    sandbox.start()
    stack.answer_more()


@pytest.mark.parametrize("service", ALL)
def test_a_container_has_no_more_than_it_needs(stack: Any, service: str) -> None:
    """No root, no capability, nothing to write; bounded, and restarted."""
    container = stack.container(service)
    host, config = container.attrs["HostConfig"], container.attrs["Config"]
    _, status = container.exec_run("cat /proc/1/status")

    assert config["User"] not in ("", "0", "root")
    assert b"CapEff:\t0000000000000000" in status
    assert b"CapBnd:\t0000000000000000" in status
    assert b"NoNewPrivs:\t1" in status
    assert host["ReadonlyRootfs"]
    assert container.exec_run("touch /etc/new").exit_code != 0
    assert host["Memory"] > 0
    assert host["NanoCpus"] > 0
    assert host["PidsLimit"] > 0
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["LogConfig"]["Config"].keys() >= {"max-size", "max-file"}


def test_only_pages_are_published_and_only_on_loopback(stack: Any) -> None:
    """UDP stays inside, as do the gateway and the sandbox."""
    published = {
        (service, port, binding["HostIp"])
        for service in ALL
        for port, bindings in stack.container(service).ports.items()
        for binding in bindings or ()
    }

    assert published == {
        ("bridge", "9102/tcp", "127.0.0.1"),
        ("prometheus", "9090/tcp", "127.0.0.1"),
    }


def test_the_image_is_small(stack: Any) -> None:
    """Less than 200 MB come on top of the base."""
    sizes = {
        name: stack.client.images.get(name).attrs["Size"]
        for name in (stack.image, stack.base)
    }

    assert sizes[stack.image] - sizes[stack.base] < 200 * MEGABYTE


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: str(file.name))
def test_every_query_of_a_dashboard_finds_something(stack: Any, file: Path) -> None:
    """Grafana would show no empty panel, but for what never happened here."""
    waiting = {
        each
        for each in _expressions(json.loads(file.read_text()))
        if not any(words in each for words in NEVER_HERE)
    }
    assert len(waiting) > 10

    def found() -> bool:
        waiting.difference_update([each for each in waiting if stack.query(each)])
        return not waiting

    stack.until(found)


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: str(file.name))
def test_every_query_of_a_dashboard_is_understood(stack: Any, file: Path) -> None:
    """Prometheus can run each, whether or not it finds something."""
    for each in _expressions(json.loads(file.read_text())):
        stack.query(each)


def _expressions(node: Any) -> Iterator[str]:
    """Every query in a dashboard, with its variables filled in."""
    if isinstance(node, dict):
        if isinstance(expression := node.get("expr"), str):
            expression = expression.replace("$__rate_interval", "1m")
            yield expression.replace("$instance", ".*")
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from _expressions(each)


@contextmanager
def _container(stack: Any, name: str, code: str) -> Iterator[Any]:
    """Run Python in the stack's network, as another container there."""
    made = stack.client.containers.run(
        stack.image,
        ["python", "-c", code],
        name=f"{stack.name}-{name}",
        network=f"{stack.name}_default",
        # Else it has those of the image, and counts as the gateway.
        labels={"com.docker.compose.service": name},
        detach=True,
    )
    try:
        yield made
    finally:
        made.remove(force=True)


@contextmanager
def _without_bridge(stack: Any) -> Iterator[None]:
    """
    Something befalls the bridge inside of this: people are answered all the while.

    After it Prometheus soon has every metric again, and they go on.
    """
    before = {name: _series(stack, name) for name in MISSION}
    yield
    stack.answer_more()
    stack.until(lambda: stack.value('up{job="bridge"}') == 1)
    stack.until(
        lambda: all(_series(stack, name) >= known for name, known in before.items())
    )
    counted = stack.value("sum(crocbot_messages_total)")
    stack.until(lambda: stack.value("sum(crocbot_messages_total)") > counted)


def _series(stack: Any, name: str) -> set[str]:
    """The series of a metric that Prometheus has now, each by its labels."""
    return {json.dumps(each["metric"], sort_keys=True) for each in stack.query(name)}


def test_the_bridge_is_replaced(stack: Any) -> None:
    """A new bridge at another address is found by itself."""
    with _without_bridge(stack):
        old = stack.address("bridge")
        bridge = stack.container("bridge")
        bridge.kill()
        bridge.remove()
        stack.answer_more()
        # Whoever comes next gets the old address, so the new bridge cannot.
        with _container(stack, "squatter", "import signal; signal.pause()"):
            stack.up("bridge")
            assert stack.address("bridge") != old
            stack.until(lambda: stack.value("crocbot_uptime_seconds") > 0)


def test_the_bridge_is_stopped_for_a_while(stack: Any) -> None:
    """Prometheus sees it gone; the same bridge comes back."""
    with _without_bridge(stack):
        bridge = stack.container("bridge")
        bridge.stop()
        assert stack.container("bridge").attrs["State"]["ExitCode"] == 0
        stack.until(lambda: stack.query('up{job="bridge"} == 0'))
        stack.answer_more(20)
        bridge.start()


def test_the_bridge_is_frozen(stack: Any) -> None:
    """What reaches it meanwhile waits in its socket."""
    with _without_bridge(stack):
        bridge = stack.container("bridge")
        bridge.pause()
        stack.until(lambda: stack.query('up{job="bridge"} == 0'))
        stack.answer_more(20)
        bridge.unpause()


def test_a_gateway_that_is_stopped_ends_well_and_takes_up_its_inbox(stack: Any) -> None:
    """SIGTERM to process 1 is enough; what is written meanwhile is answered later."""
    gateway = stack.container("gateway")
    gateway.stop(timeout=30)
    assert stack.container("gateway").attrs["State"]["ExitCode"] == 0

    gateway.start()
    stack.answer_more()
    stack.until(lambda: stack.container("gateway").health == "healthy")


def _raise_alert(stack: Any, name: str) -> None:
    """Tell Alertmanager of an alert, as soon as Prometheus has found it."""
    stack.until(lambda: stack.prometheus("alertmanagers")["activeAlertmanagers"])
    url = "--alertmanager.url=http://127.0.0.1:9093"
    told = stack.container("alertmanager").exec_run(
        ["amtool", "alert", "add", url, name, "--annotation=summary=it works"]
    )
    assert told.exit_code == 0, told.output


def test_an_alert_reaches_a_chat(stack: Any) -> None:
    """With the profile `alerts` and a chat's id the operator is told in Telegram."""
    stack.up(
        "alertmanager",
        ALERT_TELEGRAM_CHAT="1005",
        ALERT_TELEGRAM_TOKEN=TOKEN,
        CROCBOT_TELEGRAM_API_URL="http://sandbox:8081",
    )
    _raise_alert(stack, "TriedByChat")
    words = "firing: TriedByChat: it works"

    stack.until(lambda: any(words in line for line in stack.lines("sandbox")))


def test_an_alert_reaches_a_webhook(stack: Any) -> None:
    """With the URL of a webhook it gets Alertmanager's JSON."""
    with _container(stack, "hook", HOOK) as hook:
        stack.up("alertmanager", ALERT_WEBHOOK_URL=f"http://{hook.name}:8000/")
        _raise_alert(stack, "TriedByWebhook")

        stack.until(lambda: b'"alertname":"TriedByWebhook"' in hook.logs())
