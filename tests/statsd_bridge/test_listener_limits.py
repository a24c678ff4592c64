"""How open files are shared."""

from __future__ import annotations

import pytest

from statsd_bridge.listener.limits import RESERVED_FILES, ConnectionLimits


@pytest.mark.parametrize(
    ("files", "http", "streams"),
    [
        (65_536, 512, 1024),
        (1024, 251, 376),
        (40, 5, 7),
        # Too few to work well; each listener still accepts a connection.
        (10, 2, 3),
    ],
)
def test_scrapes_keep_their_share(files: int, http: int, streams: int) -> None:
    """Two stream listeners and the HTTP server fit into the limit."""
    limits = ConnectionLimits.from_open_files(files)

    assert (limits.http, limits.streams) == (http, streams)
    if files > RESERVED_FILES + 8:
        assert limits.http + 2 * limits.streams <= files - RESERVED_FILES
