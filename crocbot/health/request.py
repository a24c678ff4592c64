"""Requests of the gateway's own pages, by commands on the same machine."""

from __future__ import annotations

import http.client

from crocbot.model import HostPort

TIMEOUT_SECONDS = 5.0
MAX_PAGE_BYTES = 256 * 1024
# Addresses that mean "all of this machine's" to a server.
WILDCARD_TO_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


class NoAnswerError(Exception):
    """There is no answer at an address, or none that is HTTP."""


def get(address: HostPort, path: str) -> tuple[int, bytes]:
    """Return status and body, at most MAX_PAGE_BYTES of it; raise NoAnswerError."""
    host = WILDCARD_TO_LOOPBACK.get(address.host, address.host)
    connection = http.client.HTTPConnection(host, address.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(MAX_PAGE_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswerError(f"no answer from {address}: {error}") from error
    finally:
        connection.close()
