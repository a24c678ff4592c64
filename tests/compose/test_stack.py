"""
The whole stack, and the loss of each part.

The tests share one stack, in the order of this file; each leaves it complete.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from crocbot.sandbox.metrics_page import LATENCY, MISSION
from crocbot.sandbox.server import TOKEN
from tests.compose.conftest import Stack

# Prometheus has a histogram by its parts.
METRICS = [f"{name}_count" if name == LATENCY else name for name in MISSION]
BUILT_HERE = ("gateway", "bridge", "sandbox")
ALL = (*BUILT_HERE, "prometheus")

# A webhook that prints the requests.
HOOK = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.rfile.read(int(self.headers["content-length"])), flush=True)
        self.send_response(200)
        self.end_headers()
HTTPServer(("", 8000), Hook).serve_forever()
"""


@pytest.mark.parametrize("name", METRICS)
def test_a_first_up_shows_traffic(stack: Stack, name: str) -> None:
    """Without any setting Prometheus has the metric, and users are answered."""
    stack.until(lambda: stack.query(name))
    stack.answer_more(1)


def test_rules_and_targets_work(stack: Stack) -> None:
    """Prometheus scrapes the bridge and itself, and evaluates every rule."""
    stack.until(lambda: stack.value("count(up == 1)") == 2)

    def evaluated() -> bool:
        groups = stack.prometheus("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return {each["health"] for each in rules} == {"ok"}

    stack.until(evaluated)


def test_every_message_is_counted(stack: Stack) -> None:
    """The users' messages and the counters in Prometheus agree."""
    sandbox, bridge = stack.container("sandbox"), stack.container("bridge")
    # Both begin anew: a test before this one may have replaced one of them.
    sandbox.stop(timeout=60)
    bridge.kill()
    bridge.remove()
    stack.up("bridge")
    stack.until(lambda: stack.query("sum(crocbot_messages_total) == 0"))
    sandbox.start()
    stack.answer_more(10)
    sandbox.stop(timeout=60)
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
def test_a_container_has_no_more_than_it_needs(stack: Stack, service: str) -> None:
    """It has no root, capability or writable system; it is bounded and restarted."""
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


def test_only_pages_are_published_and_only_on_loopback(stack: Stack) -> None:
    """UDP, the gateway and the sandbox are not published."""
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


@contextmanager
def _container(stack: Stack, name: str, code: str) -> Iterator[Any]:
    """Run Python in another container of the stack's network."""
    made = stack.client.containers.run(
        stack.image,
        ["python", "-c", code],
        name=f"{stack.name}-{name}",
        network=f"{stack.name}_default",
        # The labels of the image would make it count as the gateway.
        labels={"com.docker.compose.service": name},
        detach=True,
    )
    try:
        yield made
    finally:
        made.remove(force=True)


@contextmanager
def _without_bridge(stack: Stack) -> Iterator[None]:
    """
    Assert that users are answered while the bridge is gone, which the body causes.

    After it Prometheus has every series again, and the counters go on.
    """
    before = {name: _series(stack, name) for name in METRICS}
    yield
    stack.answer_more()
    stack.until(lambda: stack.value('up{job="bridge"}') == 1)
    stack.until(
        lambda: all(_series(stack, name) >= known for name, known in before.items())
    )
    counted = stack.value("sum(crocbot_messages_total)")
    stack.until(lambda: stack.value("sum(crocbot_messages_total)") > counted)


def _series(stack: Stack, name: str) -> set[str]:
    """Return the label sets of a metric that Prometheus has now."""
    return {json.dumps(each["metric"], sort_keys=True) for each in stack.query(name)}


def test_the_bridge_is_replaced(stack: Stack) -> None:
    """A new bridge at another address is found without a restart."""
    with _without_bridge(stack):
        old = stack.address("bridge")
        bridge = stack.container("bridge")
        bridge.kill()
        bridge.remove()
        stack.answer_more()
        # The next container gets the old address, so the new bridge does not.
        with _container(stack, "squatter", "import signal; signal.pause()"):
            stack.up("bridge")
            assert stack.address("bridge") != old
            stack.until(lambda: stack.value("crocbot_uptime_seconds") > 0)


def test_the_bridge_is_stopped(stack: Stack) -> None:
    """Prometheus reports it down; the same bridge is started again."""
    with _without_bridge(stack):
        bridge = stack.container("bridge")
        bridge.stop()
        assert stack.container("bridge").attrs["State"]["ExitCode"] == 0
        stack.until(lambda: stack.query('up{job="bridge"} == 0'))
        stack.answer_more(20)
        bridge.start()


def test_the_bridge_is_frozen(stack: Stack) -> None:
    """Datagrams wait in its socket meanwhile."""
    with _without_bridge(stack):
        bridge = stack.container("bridge")
        bridge.pause()
        stack.until(lambda: stack.query('up{job="bridge"} == 0'))
        stack.answer_more(20)
        bridge.unpause()


def test_the_gateway_is_stopped(stack: Stack) -> None:
    """SIGTERM ends it with 0; messages that arrive meanwhile are answered later."""
    gateway = stack.container("gateway")
    gateway.stop(timeout=60)
    assert stack.container("gateway").attrs["State"]["ExitCode"] == 0

    gateway.start()
    stack.answer_more()
    stack.until(lambda: stack.container("gateway").health == "healthy")


def _raise_alert(stack: Stack, name: str) -> None:
    """Send an alert to Alertmanager once Prometheus has discovered it."""
    stack.until(lambda: stack.prometheus("alertmanagers")["activeAlertmanagers"])
    url = "--alertmanager.url=http://127.0.0.1:9093"
    added = stack.container("alertmanager").exec_run(
        [
            *("amtool", "alert", "add", url, name),
            *("--annotation=summary=it works", "--annotation=description=1. Look."),
        ]
    )
    assert added.exit_code == 0, added.output


def test_an_alert_reaches_a_chat(stack: Stack) -> None:
    """With the profile `alerts` and a chat id the alert is a Telegram message."""
    stack.up(
        "alertmanager",
        ALERT_TELEGRAM_CHAT="1005",
        ALERT_TELEGRAM_TOKEN=TOKEN,
        CROCBOT_TELEGRAM_API_URL="http://sandbox:8081",
    )
    _raise_alert(stack, "TriedByChat")
    words = "firing: TriedByChat: it works"

    stack.until(lambda: any(words in line for line in stack.lines("sandbox")))
    stack.until(lambda: any("1. Look." in line for line in stack.lines("sandbox")))


def test_an_alert_reaches_a_webhook(stack: Stack) -> None:
    """With the URL of a webhook the alert is POSTed as Alertmanager's JSON."""
    with _container(stack, "hook", HOOK) as hook:
        stack.up("alertmanager", ALERT_WEBHOOK_URL=f"http://{hook.name}:8000/")
        _raise_alert(stack, "TriedByWebhook")

        stack.until(lambda: b'"alertname":"TriedByWebhook"' in hook.logs())
