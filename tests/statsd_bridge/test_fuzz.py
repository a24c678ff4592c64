"""Some scenarios of the fuzzer; `make fuzz` runs more, from another seed each time."""

from __future__ import annotations

import pytest

from tests.statsd_bridge import fuzz

SCENARIOS_PER_TEST = 50


@pytest.mark.parametrize("first", range(0, 400, SCENARIOS_PER_TEST))
def test_both_paths_agree_on_random_scenarios(first: int) -> None:
    """Pages and counters are equal and valid, and no counter falls."""
    for seed in range(first, first + SCENARIOS_PER_TEST):
        fuzz.run(fuzz.scenario(seed))


def test_a_seed_gives_the_same_scenario() -> None:
    """So a failure can be repeated."""
    assert fuzz.scenario(7) == fuzz.scenario(7)
    assert fuzz.scenario(7) != fuzz.scenario(8)
