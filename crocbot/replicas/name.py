"""The name of a replica: it is the owner in every table, and shown to operators."""

from __future__ import annotations

import re
import secrets
import socket

MAX_HOST_CHARS = 48
RANDOM_BYTES = 3

_OTHER = re.compile(r"[^A-Za-z0-9._-]+")


def replica_name(host: str | None = None) -> str:
    """
    Return a name for this start of the gateway: its host, and what makes it unique.

        crocbot-7d4f --> crocbot-7d4f-a1b2c3

    It has only ASCII letters, digits, dots, hyphens and underscores.
    """
    host = socket.gethostname() if host is None else host
    safe = _OTHER.sub("-", host).strip("-")[:MAX_HOST_CHARS] or "gateway"
    return f"{safe}-{secrets.token_hex(RANDOM_BYTES)}"


def host_of(name: str) -> str:
    """Return the host in the name of a replica, which all its starts there share."""
    return name.rpartition("-")[0]
