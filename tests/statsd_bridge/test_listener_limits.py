"""How open files are shared out."""

from __future__ import annotations

import pytest

from statsd_bridge.listener.limits import OWN, ConnectionLimits, share


@pytest.mark.parametrize(
    ("files", "room"),
    [
        (65_536, ConnectionLimits(512, 1024)),
        (1024, ConnectionLimits(251, 376)),
        (40, ConnectionLimits(5, 7)),
        # Too few to do well; still somebody can come in at each door.
        (10, ConnectionLimits(2, 3)),
    ],
)
def test_pages_keep_their_share(files: int, room: ConnectionLimits) -> None:
    """Two doors for streams and one for pages fit into what is allowed."""
    assert share(files) == room
    if files > OWN + 8:
        assert room.pages + 2 * room.streams <= files - OWN
