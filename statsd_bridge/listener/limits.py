"""
Connection limits from RLIMIT_NOFILE, so that statsd clients leave files for scrapes.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import Self

MAX_OPEN_FILES = 65_536
"""Open files that are requested at most."""

RESERVED_FILES = 20
"""Files that are open without any connection, or while a page is rendered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Maximum connections of the HTTP server, and of each stream listener."""

    http: int = 512
    streams: int = 1_024

    @classmethod
    def from_open_files(cls, files: int) -> Self:
        """Share open files: a quarter for HTTP, the rest for two stream listeners."""
        free, default = max(files - RESERVED_FILES, 8), cls()
        return cls(
            http=min(default.http, free // 4),
            streams=min(default.streams, free * 3 // 8),
        )


def raise_open_files() -> int:
    """Raise the soft limit of open files as far as permitted; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_infinite = hard == resource.RLIM_INFINITY
    limit = MAX_OPEN_FILES if is_infinite else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit
