"""The warning of a bridge that listens on loopback only, in a container."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from statsd_bridge.service import container

LOOPBACK = {"udp": "127.0.0.1:9125", "tcp": "[::1]:9125", "http": "127.0.0.1:9102"}


@pytest.mark.parametrize(
    ("addresses", "environment", "mark", "warns"),
    [
        (LOOPBACK, {}, ".dockerenv", True),
        (LOOPBACK, {}, "run/.containerenv", True),
        (LOOPBACK, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "", True),
        (LOOPBACK, {"container": "podman"}, "", True),
        (LOOPBACK, {}, "", False),
        (LOOPBACK | {"http": "0.0.0.0:9102"}, {}, ".dockerenv", False),
        (LOOPBACK | {"http": "[::]:9102"}, {}, ".dockerenv", False),
        (LOOPBACK | {"unixgram": "/run/statsd.sock"}, {}, ".dockerenv", False),
    ],
)
def test_the_warning(
    addresses: Mapping[str, str],
    environment: Mapping[str, str],
    mark: str,
    warns: bool,
    tmp_path: Path,
) -> None:
    """It needs a container, and addresses that are all on the loopback interface."""
    if mark:
        (tmp_path / mark).parent.mkdir(exist_ok=True)
        (tmp_path / mark).touch()

    warning = container.warning(addresses, environment, tmp_path)

    assert (warning is not None) is warns
