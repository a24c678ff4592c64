#!/usr/bin/env python3
"""
The health check of the images: exit code 0 if one of these addresses answers.

Without arguments it asks the bridge of this container at the address that it serves,
which the command line of the first process names.
"""

from __future__ import annotations

import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path

FLAG = "--web.listen-address"
DEFAULT = "127.0.0.1:9102"
# "All addresses", as a server says it; a client asks this machine.
LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104
# 401: --web.config.file names users, so it is the bridge that answers.
ALIVE = (200, 401)
SECONDS = 3


def expanded(command: list[str]) -> list[str]:
    """Return a command line with the lines of each `@file` in its place."""
    words = []
    for word in command:
        file = Path(word[1:])
        if word.startswith("@") and file.is_file():
            words += file.read_text(encoding="utf-8").splitlines()
        else:
            words.append(word)
    return words


def served(command: list[str]) -> str:
    """Return the address in a command line, the last one if there are several."""
    address = DEFAULT
    command = expanded(command)
    for index, word in enumerate(command):
        if word.startswith(f"{FLAG}="):
            address = word.partition("=")[2]
        elif word == FLAG and index + 1 < len(command):
            address = command[index + 1]
    host, _, port = address.rpartition(":")
    return f"{LOOPBACK.get(host, host)}:{port}"


def addresses() -> list[str]:
    """Return the bridge's health page without and with TLS."""
    command = Path("/proc/1/cmdline").read_bytes().decode(errors="replace")
    address = served(command.split("\0"))
    return [f"{scheme}://{address}/-/healthy" for scheme in ("http", "https")]


def answers(url: str) -> bool:
    """Ask one address; what went wrong is for `docker inspect`."""
    # Not by way of a proxy that the environment names, and with any certificate: what
    # it proves is not asked here.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(url, timeout=SECONDS) as answer:
            return answer.status in ALIVE
    except urllib.error.HTTPError as error:
        if error.code in ALIVE:
            return True
        print(f"{url}: {error}")
    except (urllib.error.URLError, OSError, ValueError) as error:
        print(f"{url}: {error}")
    return False


if __name__ == "__main__":
    sys.exit(not any(map(answers, sys.argv[1:] or addresses())))
