"""Pauses between retries grow, are bounded, vary, and begin again after a success."""

from __future__ import annotations

import pytest

from crocbot.backoff import Backoff


def test_pauses_grow_up_to_the_longest_and_begin_again() -> None:
    """Each pause is `factor` times the last one, up to `longest`, until a reset()."""
    backoff = Backoff(first=1, factor=2, longest=5, random=lambda: 0.5)
    assert [backoff.next_pause() for _ in range(5)] == [1, 2, 4, 5, 5]
    assert backoff.failures == 5
    backoff.reset()
    assert (backoff.failures, backoff.next_pause()) == (0, 1)


@pytest.mark.parametrize(("random", "pause"), [(0.0, 8.0), (0.5, 10.0), (1.0, 12.0)])
def test_a_pause_varies_by_a_fifth(random: float, pause: float) -> None:
    """Jitter makes a pause up to 20 % shorter or longer, also the longest one."""
    for backoff in (
        Backoff(first=10, random=lambda: random),
        Backoff(first=99, longest=10, random=lambda: random),
    ):
        assert backoff.next_pause() == pytest.approx(pause)


def test_pauses_do_not_overflow() -> None:
    """A peer that is away for months leaves the pause at its bound."""
    backoff = Backoff(random=lambda: 0.5)
    assert {backoff.next_pause() for _ in range(10_000)} >= {30.0}
    assert backoff.next_pause() == 30.0
