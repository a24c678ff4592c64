"""
The Kubernetes manifest, against the schemas of Kubernetes itself.

kubernetes-validate contains them, so no cluster is needed.  It has no schema of the
ServiceMonitor, whose few fields are compared with what they refer to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from crocbot.settings.fields import NAMES, SECRETS, Settings
from statsd_bridge.storage.file import MAX_WRITE_SECONDS

FILE = Path(__file__).parents[2] / "compose" / "kubernetes" / "crocbot.yml"
OBJECTS = {each["kind"]: each for each in yaml.safe_load_all(FILE.read_text())}
OWN = [kind for kind in OBJECTS if kind != "ServiceMonitor"]
# The oldest with sidecars without a feature gate, and the newest.
VERSIONS = ("1.29", kubernetes_validate.latest_version())
POD = OBJECTS["StatefulSet"]["spec"]["template"]
(BRIDGE,) = POD["spec"]["initContainers"]
(GATEWAY,) = POD["spec"]["containers"]


def test_every_object_is_there() -> None:
    """There is one of each kind."""
    text = FILE.read_text()

    assert list(OBJECTS) == ["ConfigMap", "StatefulSet", "Service", "ServiceMonitor"]
    assert text.count("\nkind: ") == len(OBJECTS)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", OWN)
def test_kubernetes_knows_every_field(kind: str, version: str) -> None:
    """The strict schema refuses misspelt and misplaced fields."""
    kubernetes_validate.validate(OBJECTS[kind], version, strict=True)


def test_the_schema_refuses_what_is_wrong() -> None:
    """The check can fail."""
    wrong = {**OBJECTS["Service"], "spec": {"port": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def test_the_service_monitor_finds_the_bridge() -> None:
    """It selects the service by its labels, which selects the pod by its own."""
    monitor, service = OBJECTS["ServiceMonitor"], OBJECTS["Service"]
    (endpoint,) = monitor["spec"]["endpoints"]
    (port,) = service["spec"]["ports"]
    labels = POD["metadata"]["labels"].items()

    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["spec"].keys() == {
        "selector",
        "endpoints",
        "scrapeClassicHistograms",
    }
    assert endpoint == {"port": port["name"], "path": "/metrics", "interval": "10s"}
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    assert wanted <= service["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= labels
    assert OBJECTS["StatefulSet"]["spec"]["selector"]["matchLabels"].items() <= labels
    assert port["targetPort"] in [each["name"] for each in BRIDGE["ports"]]


@pytest.mark.parametrize("container", [BRIDGE, GATEWAY], ids=lambda c: str(c["name"]))
def test_a_container_is_restricted(container: dict[str, Any]) -> None:
    """It has the restrictions of the compose file."""
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container["resources"]["limits"]
    assert {"startupProbe", "livenessProbe"} <= container.keys()


def test_every_variable_is_a_setting() -> None:
    """The gateway reads all of them; the token comes from a mounted file."""
    settings = {*NAMES, *(f"{name}_FILE" for name in SECRETS)}
    given = {each["name"]: each["value"] for each in GATEWAY["env"]}
    mounts = {each["name"]: each["mountPath"] for each in GATEWAY["volumeMounts"]}

    assert given.keys() | OBJECTS["ConfigMap"]["data"].keys() <= settings
    assert given["CROCBOT_STATE_DIR"] == mounts["state"]
    assert given["TELEGRAM_BOT_TOKEN_FILE"].startswith(mounts["secrets"] + "/")


def test_the_grace_period() -> None:
    """It is longer than the gateway waits for answers."""
    grace = POD["spec"]["terminationGracePeriodSeconds"]

    assert grace > 2 * Settings.model_fields["drain_seconds"].default


def test_the_bridge_keeps_its_series() -> None:
    """On the volume of the pod, with the time to write them after the gateway."""
    [flag] = [each for each in BRIDGE["args"] if each.startswith("--storage.file=")]
    (mount,) = BRIDGE["volumeMounts"]
    grace = POD["spec"]["terminationGracePeriodSeconds"]

    assert flag.partition("=")[2].startswith(mount["mountPath"] + "/")
    assert (mount["name"], mount["subPath"]) == ("state", "statsd-bridge")
    assert grace > MAX_WRITE_SECONDS + Settings.model_fields["drain_seconds"].default


def test_the_bridge_is_a_sidecar() -> None:
    """It starts before the gateway and ends after it."""
    assert BRIDGE["restartPolicy"] == "Always"
    names = [each["image"].rpartition("/")[2] for each in (BRIDGE, GATEWAY)]
    assert [name.partition(":")[0] for name in names] == ["statsd-bridge", "crocbot"]
