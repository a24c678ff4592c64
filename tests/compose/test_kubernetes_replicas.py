"""The Kubernetes manifest of replicas, against the schemas of Kubernetes itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from crocbot.settings.fields import NAMES, SECRETS, Settings

FILES = Path(__file__).parents[2] / "compose" / "kubernetes"
OBJECTS: list[dict[str, Any]] = list(
    yaml.safe_load_all((FILES / "replicas.yml").read_text())
)
OWN = [each for each in OBJECTS if each["kind"] != "ServiceMonitor"]
VERSIONS = ("1.29", kubernetes_validate.latest_version())


def the(kind: str, name: str = "crocbot") -> dict[str, Any]:
    """Return the object of this kind and name."""
    (found,) = [
        each
        for each in OBJECTS
        if (each["kind"], each["metadata"]["name"]) == (kind, name)
    ]
    return found


POD = the("Deployment")["spec"]["template"]
LABELS = POD["metadata"]["labels"]
(BRIDGE,) = POD["spec"]["initContainers"]
(GATEWAY,) = POD["spec"]["containers"]
PORTS = {each["name"]: each for each in (*BRIDGE["ports"], *GATEWAY["ports"])}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "manifest", OWN, ids=[f"{each['kind']} {each['metadata']['name']}" for each in OWN]
)
def test_kubernetes_knows_every_field(manifest: dict[str, Any], version: str) -> None:
    """The strict schema refuses misspelt and misplaced fields."""
    kubernetes_validate.validate(manifest, version, strict=True)


def test_all_select_the_replicas() -> None:
    """Deployment, budget, policy and services mean the same pods."""
    selectors = [
        the("Deployment")["spec"]["selector"]["matchLabels"],
        the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        the("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        the("Service")["spec"]["selector"],
        the("Service", "crocbot-webhook")["spec"]["selector"],
    ]

    assert the("Deployment")["spec"]["replicas"] > 1
    assert all(each == LABELS for each in selectors)


def test_prometheus_scrapes_each_bridge_once() -> None:
    """The ServiceMonitor selects the Service of metrics and no other."""
    wanted = the("ServiceMonitor")["spec"]["selector"]["matchLabels"].items()
    services = [each for each in OBJECTS if each["kind"] == "Service"]
    scraped = [
        each for each in services if wanted <= each["metadata"]["labels"].items()
    ]

    assert [each["spec"]["ports"][0]["name"] for each in scraped] == ["metrics"]
    assert scraped[0]["spec"]["publishNotReadyAddresses"]


def test_ports_that_are_named_exist() -> None:
    """Services, policy and probes name ports of the containers."""
    rules = the("NetworkPolicy")["spec"]["ingress"]
    named = {
        *(port["port"] for rule in rules for port in rule["ports"]),
        *(
            port["targetPort"]
            for each in OBJECTS
            if each["kind"] == "Service"
            for port in each["spec"]["ports"]
        ),
        GATEWAY["readinessProbe"]["httpGet"]["port"],
        BRIDGE["livenessProbe"]["httpGet"]["port"],
    }

    assert named <= PORTS.keys()


def test_the_database_decides_on_readiness_only() -> None:
    """A restart does not repair the database, so no other probe looks at it."""
    paths = {
        name: GATEWAY[name]["httpGet"]["path"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }

    assert paths == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }


def test_the_grace_period() -> None:
    """It is longer than the wait of preStop and that for answers."""
    (*_, command) = GATEWAY["lifecycle"]["preStop"]["exec"]["command"]
    wait = int(command.partition("sleep(")[2].rstrip(")"))
    grace = POD["spec"]["terminationGracePeriodSeconds"]

    assert grace > wait + 2 * Settings.model_fields["drain_seconds"].default


def test_secrets_come_from_files() -> None:
    """Token and URL of the database are mounted; all variables are settings."""
    settings = {*NAMES, *(f"{name}_FILE" for name in SECRETS)}
    given = {each["name"]: each["value"] for each in GATEWAY["env"]}
    mounts = {each["name"]: each["mountPath"] for each in GATEWAY["volumeMounts"]}

    assert given.keys() | the("ConfigMap")["data"].keys() <= settings
    assert given["CROCBOT_STATE_DIR"] == mounts["state"]
    for name in ("TELEGRAM_BOT_TOKEN_FILE", "CROCBOT_DATABASE_URL_FILE"):
        assert given[name].startswith(mounts["secrets"] + "/")


def test_a_pod_is_that_of_one_gateway() -> None:
    """Bridge and restrictions are those of the other manifest, but for its volume."""
    single = yaml.safe_load_all((FILES / "crocbot.yml").read_text())
    (pod,) = [
        each["spec"]["template"]["spec"]
        for each in single
        if each["kind"] == "StatefulSet"
    ]
    (bridge,) = pod["initContainers"]
    # A new pod is a new target of Prometheus: what an old one had must not come back.
    (storage,) = [each for each in bridge["args"] if each.startswith("--storage.file=")]
    bridge["args"].remove(storage)
    del bridge["volumeMounts"]

    assert bridge == BRIDGE
    assert pod["securityContext"] == POD["spec"]["securityContext"]
    assert pod["containers"][0]["securityContext"] == GATEWAY["securityContext"]


def test_replicas_are_on_different_machines() -> None:
    """By preference, so that one machine can run them all."""
    (term,) = POD["spec"]["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]

    assert term["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert term["podAffinityTerm"]["labelSelector"]["matchLabels"] == LABELS
    assert the("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
