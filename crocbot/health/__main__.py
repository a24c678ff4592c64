"""
`python -m crocbot.health`: request a gateway's health page, for a container.

It requests /healthz, or with `--ready` /readyz, at CROCBOT_HEALTH_ADDRESS, read as the
gateway reads it, or at the address that is given.  Exit codes: 0 healthy, or no health
page because the address is `off`; 1 not healthy; 2 the address is wrong, or the extra
"gateway" is not installed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from crocbot.errors import OperatorError, is_missing_library
from crocbot.health import request
from crocbot.model import HostPort


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Print the page and return the exit code."""
    try:
        return _request_page(arguments, environment)
    except ModuleNotFoundError as error:
        if not is_missing_library(error):
            raise
        text = """needs the extra "gateway": pip install 'crocbot[gateway]'"""
        print(f"python -m crocbot.health {text}", file=sys.stderr)
        return 2


def _request_page(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    # Imported here, since it needs a library of the extra.
    from crocbot.settings import HEALTH_ADDRESS, load_only

    parser = argparse.ArgumentParser(prog="python -m crocbot.health")
    parser.add_argument("address", nargs="?", help="host:port")
    parser.add_argument("--ready", action="store_true", help="request /readyz")
    options = parser.parse_args(arguments)
    given = {HEALTH_ADDRESS: options.address} if options.address else {}
    try:
        address = load_only({**environment, **given}, HEALTH_ADDRESS).health_address
    except OperatorError as error:
        print(error, file=sys.stderr)
        return 2
    if address is None:
        print(f"{HEALTH_ADDRESS} is off: there is no health page to request")
        return 0
    return _request(address, "/readyz" if options.ready else "/healthz")


def _request(address: HostPort, path: str) -> int:
    try:
        status, body = request.get(address, path)
    except request.NoAnswerError as error:
        print(error, file=sys.stderr)
        return 1
    print(body.decode(errors="replace").rstrip())
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
