"""
The limit of open files to how many connections each sort of door may hold.

Clients of statsd can never take the files that a scrape needs.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass

ENOUGH = 65_536
"""Open files that are asked for at most."""

OWN = 20
"""Files that are open without any connection, and while a page is made."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Most connections: of the HTTP door, and of each door that takes streams."""

    pages: int = 512
    streams: int = 1_024


def connection_limits() -> ConnectionLimits:
    """Allow ourselves as many open files as the system does, and share them out."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _files(hard)
    if _files(soft) < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return share(most)


def share(files: int) -> ConnectionLimits:
    """Share out so many files: a quarter for pages, the rest for two doors."""
    free, full = max(files - OWN, 8), ConnectionLimits()
    return ConnectionLimits(
        min(full.pages, free // 4), min(full.streams, free * 3 // 8)
    )


def _files(limit: int) -> int:
    return ENOUGH if limit == resource.RLIM_INFINITY else min(limit, ENOUGH)
