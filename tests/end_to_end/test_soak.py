"""A few seconds of the soak; `make soak` runs ten minutes of it."""

from __future__ import annotations

from pathlib import Path

from tests.end_to_end import soak


def test_hostile_clients_cost_innocent_ones_nothing(tmp_path: Path) -> None:
    """All their samples are on the page, all scrapes succeed, the bridge ends well."""
    bridge = soak.start(tmp_path)
    try:
        running = soak.Soak(bridge, seconds=8)
        running.run()
        broken = list(soak.problems(running, running.page()))
    finally:
        code = bridge.stop()

    assert broken == []
    assert code == 0
    assert running.figures.wrong_passwords > 0
    assert running.figures.reloads > 0
