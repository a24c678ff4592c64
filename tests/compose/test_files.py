"""The files in compose/, checked without an engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from crocbot.sandbox.server import TOKEN
from crocbot.settings.fields import NAMES, SECRETS, Settings
from crocbot.settings.sources import CONFIG
from statsd_bridge.storage.file import MAX_WRITE_SECONDS

COMPOSE = Path(__file__).parents[2] / "compose"
# Not settings, but variables that other programs use as well.
PROXIES = frozenset({"HTTPS_PROXY", "NO_PROXY"})
# Set by the machine, the operator or compose.yml.
ELSEWHERE = {"TELEGRAM_BOT_TOKEN", "CROCBOT_STATE_DIR", "CROCBOT_STATSD_HOST"}
SERVICES = yaml.safe_load((COMPOSE / "compose.yml").read_text())["services"]


@pytest.fixture(scope="module")
def example() -> dict[str, str]:
    """Return the settings of .env.example, commented out or not."""
    lines = (COMPOSE / ".env.example").read_text().splitlines()
    settings = [line for line in lines if re.match(r"#?[A-Z][A-Z_]+=", line)]
    return dict(line.lstrip("#").split("=", 1) for line in settings)


def test_every_setting_is_in_the_example(example: dict[str, str]) -> None:
    """It has the gateway's with their defaults, those of compose.yml, and no other."""
    files = {f"{name}_FILE" for name in SECRETS}
    used = set(re.findall(r"\$\{([A-Z_]+)", (COMPOSE / "compose.yml").read_text()))

    assert set(example) == {*NAMES, *files, CONFIG, *PROXIES} | used
    for name in NAMES.keys() - ELSEWHERE:
        info = Settings.model_fields[NAMES[name]]
        assert example[name] == _shown(info.default, str(info.description))


def _shown(default: Any, rule: str) -> str:
    if isinstance(default, bool):
        yes, no = rule.removeprefix("must be ").split(" or ")
        return yes if default else no
    if isinstance(default, float):
        return f"{default:g}"
    return str(default) if default or default == 0 else ""


def test_the_example_has_the_defaults_of_compose(example: dict[str, str]) -> None:
    """A default in compose.yml is the one in the example."""
    text = (COMPOSE / "compose.yml").read_text()
    for name, default in re.findall(r"\$\{([A-Z_]+):-([^}$]+)\}", text):
        if name not in ("ALERT_WEBHOOK_URL", "ALERT_TELEGRAM_CHAT"):
            assert example[name] == default


def test_the_example_sets_nothing() -> None:
    """A copy that is not edited changes nothing."""
    lines = (COMPOSE / ".env.example").read_text().splitlines()

    assert [line for line in lines if line and not line.startswith("#")] == []


def test_without_a_token_the_gateway_is_in_the_sandbox() -> None:
    """The settings of the sandbox are in one file, which a token turns off."""
    lines = (COMPOSE / "sandbox.env").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if not line.startswith("#"))

    assert settings == {
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "CROCBOT_TELEGRAM_API_URL": "http://sandbox:8081",
        "CROCBOT_ACCESS": "open",
        "CROCBOT_AGENT": "echo",
    }
    assert TOKEN in str(SERVICES["sandbox"]["healthcheck"])
    assert sorted(COMPOSE.glob("sandbox*.env")) == [COMPOSE / "sandbox.env"]


def test_images_are_pinned() -> None:
    """Images that are not built here have a full version."""
    images = [each["image"] for each in SERVICES.values()]
    ours = ("crocbot:", "statsd-bridge:")
    others = [image for image in images if not image.startswith(ours)]

    assert len(others) == 6
    # PostgreSQL has two numbers.
    assert [i for i in others if not re.search(r":v?\d+\.\d+(\.\d+)?$", i)] == []


def test_the_image_builds_where_no_registry_is() -> None:
    """The Dockerfile needs no frontend and no digest from a registry."""
    text = (COMPOSE / "Dockerfile").read_text()

    assert re.findall("^ARG BASE=(.*)", text, re.MULTILINE) == [
        "python:3.12-slim-bookworm"
    ]
    assert re.findall("^FROM (\\S+)", text, re.MULTILINE) == [
        "${BASE}",
        "environment",
        "environment",
        "${BASE}",
        "${BASE}",
    ]
    assert not re.match("#\\s*syntax", text)
    assert "@sha256" not in text


def test_statsd_exporter_replaces_the_bridge() -> None:
    """It has the same flags but one, mapping file, port, and name in the network."""
    bridge, other = SERVICES["bridge"], SERVICES["statsd-exporter"]
    storage = "--storage.file=/var/lib/statsd-bridge/series"

    assert other["profiles"] == ["statsd-exporter"]
    assert [*other["command"], storage] == bridge["command"]
    assert [*other["volumes"], "series:/var/lib/statsd-bridge"] == bridge["volumes"]
    assert other["ports"] == bridge["ports"]
    assert other["networks"] == {"default": {"aliases": ["bridge"]}}


REPLICAS = ("gateway-1", "gateway-2")


def test_a_replica_is_a_gateway_with_a_bridge_of_its_own() -> None:
    """Gauges of two replicas in one bridge would overwrite each other."""
    own = ("profiles", "environment", "volumes", "tmpfs", "networks", "depends_on")
    alone = {k: v for k, v in SERVICES["gateway"].items() if k not in own}
    for name in REPLICAS:
        service = SERVICES[name]
        bridge = service["environment"]["CROCBOT_STATSD_HOST"]

        assert {k: v for k, v in service.items() if k not in own} == alone
        assert bridge == name.replace("gateway", "bridge")
        assert SERVICES[bridge]["command"] == SERVICES["bridge"]["command"]
        assert SERVICES[bridge]["ports"] == []
        # A bridge takes up the file that it finds: with one volume that of the other.
        mapping, series = SERVICES[bridge]["volumes"]
        assert mapping == SERVICES["bridge"]["volumes"][0]
        assert series == f"series-{bridge[-1]}:/var/lib/statsd-bridge"
    assert {
        name for name, each in SERVICES.items() if each.get("profiles") == ["replicas"]
    } == {*REPLICAS, "bridge-1", "bridge-2", "postgres", "balancer"}


def test_only_replicas_reach_the_database() -> None:
    """Its network has no way out, and its port is not published."""
    compose = yaml.safe_load((COMPOSE / "compose.yml").read_text())
    members = {
        name
        for name, each in SERVICES.items()
        if "database" in each.get("networks", ())
    }

    assert compose["networks"]["database"] == {"internal": True}
    assert SERVICES["postgres"]["networks"] == ["database"]
    assert members == {*REPLICAS, "postgres"}
    assert "ports" not in SERVICES["postgres"]


def test_prometheus_scrapes_the_bridge_of_each_replica() -> None:
    """By name, so that the series go on when a container gets another address."""
    config = yaml.safe_load((COMPOSE / "prometheus" / "prometheus.yml").read_text())
    (job,) = [each for each in config["scrape_configs"] if each["job_name"] == "bridge"]

    assert job["dns_sd_configs"][0]["names"] == ["bridge-1", "bridge-2"]
    assert job["relabel_configs"] == [
        {
            "source_labels": ["__meta_dns_name"],
            "regex": "(.+)",
            "target_label": "instance",
            "replacement": "$1:9102",
        }
    ]


def test_the_balancer_knows_the_replicas() -> None:
    """It sends webhook requests to those that are ready, each once."""
    text = (COMPOSE / "replicas" / "haproxy.cfg").read_text()
    servers = re.findall(r"^\s+server (\S+) (\S+):(\d+)$", text, re.MULTILINE)
    environment = SERVICES["gateway-1"]["environment"]

    assert [(name, host) for name, host, _ in servers] == [(n, n) for n in REPLICAS]
    for setting, port in (
        ("WEBHOOK_LISTEN", servers[0][2]),
        ("HEALTH_ADDRESS", "8787"),
    ):
        assert environment[f"CROCBOT_{setting}"] == f"0.0.0.0:{port}"
    assert "GET /readyz" in text
    assert "port 8787" in text
    assert "retry-on conn-failure\n" in text


def test_haproxy_accepts_its_configuration() -> None:
    """The parser of HAProxy itself reads it."""
    haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if haproxy is None:
        pytest.skip("haproxy is missing: Debian's package haproxy has it")
    config = COMPOSE / "replicas" / "haproxy.cfg"
    done = subprocess.run([haproxy, "-c", "-f", config], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_grace_period() -> None:
    """It is longer than the gateway waits for answers."""
    grace = int(SERVICES["gateway"]["stop_grace_period"].removesuffix("s"))

    assert grace > 2 * Settings.model_fields["drain_seconds"].default


def test_the_bridge_has_the_time_to_write_its_series() -> None:
    """Longer than it takes at most."""
    grace = int(SERVICES["bridge"]["stop_grace_period"].removesuffix("s"))

    assert grace > MAX_WRITE_SECONDS


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_restricted(name: str) -> None:
    """That includes those that no test can start, Grafana and statsd-exporter."""
    service = SERVICES[name]

    assert service["restart"] == "unless-stopped"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is (name != "alertmanager")
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert {"mem_limit", "cpus", "pids_limit"} <= service.keys()
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:")
        assert not port.endswith("/udp")


def test_promtool_accepts_the_configuration() -> None:
    """The configuration and the rules that it names are valid."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is missing: Debian's package prometheus has it")
    version = subprocess.run([promtool, "--version"], capture_output=True, text=True)
    if re.search(r"version 2\.([0-3]\d|4[0-4])\.", version.stdout + version.stderr):
        pytest.skip(
            "promtool is older than scrape_classic_histograms; .ci/run has 2.53"
        )
    config = COMPOSE / "prometheus" / "prometheus.yml"
    done = subprocess.run(
        [promtool, "check", "config", config], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr
    wanted: list[Any] = yaml.safe_load(config.read_text())["rule_files"]
    assert wanted == ["rules/*.yml"]


def test_alerts_name_their_steps_and_runbook() -> None:
    """One variable has the base address; the Telegram message has steps and address."""
    compose = yaml.safe_load((COMPOSE / "compose.yml").read_text())
    prometheus = SERVICES["prometheus"]
    config = yaml.safe_load((COMPOSE / "prometheus" / "prometheus.yml").read_text())
    chat = yaml.safe_load(compose["configs"]["alerts-by-telegram"]["content"])
    message = chat["receivers"][0]["telegram_configs"][0]["message"]

    assert prometheus["environment"] == {"RUNBOOKS_URL": "${RUNBOOKS_URL:-}"}
    assert "--enable-feature=expand-external-labels" in prometheus["command"]
    assert config["global"]["external_labels"] == {"runbooks": "${RUNBOOKS_URL}"}
    for name in ("summary", "description", "runbook_url"):
        assert f".Annotations.{name}" in message


def test_grafana_is_provisioned() -> None:
    """The data source is Prometheus, and the dashboards are mounted."""
    provisioning = COMPOSE / "grafana" / "provisioning"
    source = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())
    dashboards = yaml.safe_load((provisioning / "dashboards/crocbot.yml").read_text())
    mounts = SERVICES["grafana"]["volumes"]

    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    folder = dashboards["providers"][0]["options"]["path"]
    assert f"./grafana/dashboards:{folder}:ro" in mounts
