"""
`python -m crocbot.health`: ask a gateway how it is; exit code 0 if well.

It asks /healthz at CROCBOT_HEALTH_ADDRESS, or at the address that is named; with
`--ready` it asks /readyz.  For a health check in a container.
"""

from __future__ import annotations

import argparse
import http.client
import os
import sys
from collections.abc import Mapping, Sequence

from crocbot.health.server import SETTING, split
from crocbot.settings import Settings

SECONDS = 5.0
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Print what the gateway says; returns 0 if that is good news, else 1."""
    default = (
        environment.get(SETTING) or Settings.model_fields["health_address"].default
    )
    parser = argparse.ArgumentParser(prog="python -m crocbot.health")
    parser.add_argument("address", nargs="?", default=default, help="host:port")
    parser.add_argument("--ready", action="store_true", help="ask /readyz")
    chosen = parser.parse_args(arguments)
    try:
        host, port = split(chosen.address)
    except ValueError:
        print(f"{SETTING} is {chosen.address!r}: must be host:port", file=sys.stderr)
        return 2
    path = "/readyz" if chosen.ready else "/healthz"
    connection = http.client.HTTPConnection(
        ANY_ADDRESS.get(host, host), port, timeout=SECONDS
    )
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        print(answer.read().decode(errors="replace").rstrip())
    except (OSError, http.client.HTTPException) as error:
        print(f"no answer from {chosen.address}: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
