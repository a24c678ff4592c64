"""The estimate of the memory budget, against the resident memory of a process."""

from __future__ import annotations

import pytest

from benchmarks.memory import KINDS, measure

SHARE = 0.5

MAX_ERROR = 0.5
"""The estimate may be off by this much; without a share the error is smaller."""


@pytest.mark.bench
@pytest.mark.parametrize("kind", KINDS)
def test_the_estimate_is_honest(kind: str) -> None:
    """A bridge that is full has about as much memory as the limit says."""
    estimate, resident = measure(kind, SHARE)

    assert abs(estimate / resident - 1) < MAX_ERROR
