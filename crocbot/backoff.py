"""
Pauses between retries that grow exponentially, with a bound and jitter.

    Backoff(first=1, factor=2, longest=30):  1  2  4  8  16  30  30 ...  each +-20 %

Jitter keeps programs that failed together from retrying together.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from crocbot.model import RandomFloat

JITTER = 0.2


@dataclass(slots=True, kw_only=True)
class Backoff:
    """
    The pauses of one operation that is retried.  All times are seconds.

    `first` is the first pause; each one is `factor` times the one before it, up to
    `longest`.  `random` returns a float in [0, 1).
    """

    first: float = 1.0
    factor: float = 1.5
    longest: float = 30.0
    random: RandomFloat = random.random
    failures: int = field(default=0, init=False)
    _pause: float = field(default=0.0, init=False)

    def next_pause(self) -> float:
        """Count a failure and return how long to wait before the next try."""
        self.failures += 1
        grown = self._pause * self.factor if self._pause else self.first
        self._pause = min(grown, self.longest)
        return self._pause * (1 - JITTER + 2 * JITTER * self.random())

    def reset(self) -> None:
        """Begin again with the first pause, after a success."""
        self.failures, self._pause = 0, 0.0
