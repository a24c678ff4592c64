"""A bridge that no other container can reach: a warning at the start."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path

MARKS = (".dockerenv", "run/.containerenv")
"""Files that Docker and Podman make in each container."""

VARIABLES = ("KUBERNETES_SERVICE_HOST", "container")
"""Set by Kubernetes, by Podman and by systemd-nspawn."""

ONLY_LOOPBACK = (
    "only programs in this container, or in its network, reach the bridge: all its"
    " addresses are on the loopback interface; for others use"
    " --statsd.listen-udp=:9125 --statsd.listen-tcp=:9125 --web.listen-address=:9102"
)


def warning(
    addresses: Mapping[str, str],
    environment: Mapping[str, str],
    root: Path = Path("/"),
) -> str | None:
    """
    Return a warning if all addresses are on the loopback interface of a container.

    `addresses` are host:port, or the path of a Unix socket.
    """
    is_container = any((root / mark).exists() for mark in MARKS) or any(
        environment.get(name) for name in VARIABLES
    )
    if is_container and all(map(_is_loopback, addresses.values())):
        return ONLY_LOOPBACK
    return None


def _is_loopback(address: str) -> bool:
    """Return whether an address is on the loopback interface; a path is not."""
    try:
        return ipaddress.ip_address(address.rpartition(":")[0].strip("[]")).is_loopback
    except ValueError:
        return False
