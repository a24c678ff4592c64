"""What is known of the server's clock from its answers."""

from __future__ import annotations

import random

import pytest

from crocbot.replicas.server_time import ServerTime

HOUR = 3600.0
OFFSET = 1.8e9


def test_before_a_sample() -> None:
    """Nothing is known."""
    assert ServerTime().earliest(5.0) is None


def test_it_is_never_later_than_the_server() -> None:
    """However long answers take; and it is exact once one was quick."""
    chance, known, now = random.Random(1), ServerTime(), 100.0
    for delay in [9.0, *[chance.uniform(0, 9) for _ in range(20)], 0.01]:
        there = chance.uniform(0, delay)
        asked_at, now = now, now + delay
        time = OFFSET + asked_at + there
        assert not known.sample(time, asked_at=asked_at, answered_at=now)
        earliest = known.earliest(now)
        assert earliest is not None
        assert earliest <= OFFSET + now
        now += 1.0
    earliest = known.earliest(now)
    assert earliest is not None
    assert OFFSET + now - earliest < 0.02


@pytest.mark.parametrize("step", [HOUR, -HOUR, 2.0, -2.0])
def test_a_step(step: float) -> None:
    """It is seen with the next answer, once, and followed."""
    known = ServerTime()
    assert not known.sample(OFFSET + 1.0, asked_at=1.0, answered_at=1.01)
    assert known.sample(OFFSET + step + 2.0, asked_at=2.0, answered_at=2.01)
    assert not known.sample(OFFSET + step + 3.0, asked_at=3.0, answered_at=3.01)
    earliest = known.earliest(3.01)
    assert earliest is not None
    assert abs(earliest - (OFFSET + step + 3.01)) < 0.02


def test_a_drift_is_no_step() -> None:
    """A clock that is slewed by half a second in an hour is followed."""
    known = ServerTime()
    for second in range(0, 7200, 10):
        time = OFFSET + second * (1 + 0.5 / HOUR)
        assert not known.sample(time, asked_at=second, answered_at=second + 0.01)
    earliest = known.earliest(7200.0)
    assert earliest is not None
    assert abs(earliest - (OFFSET + 7201.0)) < 0.1
