"""
Which of several targets has a metric family, by rendezvous hashing.

    family "api_seconds"  ->  score of each target  ->  the target with the highest one

The score is the first 8 bytes of BLAKE2b over the target's address, as the operator
writes it, a zero byte and the family's name.  It depends on nothing else: neither on
the order of the targets, nor on a process or a version of this program.  One more
target besides n takes 1/(n + 1) of the families over; all others stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

SCORE_BYTES = 8

_SUFFIXES = ("_bucket", "_count", "_created", "_sum", "_total")
"""What a page appends to the name of a family, in one of its formats."""


def family_key(metric_name: str) -> str:
    """
    Return what names that can be on one page only together have in common.

    A histogram `x` prints `x_bucket`, `x_sum` and `x_count`: a metric with such a name
    is refused beside it, so both must be at one target.  In OpenMetrics the same holds
    for a counter `x_total` beside `x` or `x_created`.
    """
    end = len(metric_name)
    # Without a copy for each suffix: a name may be as long as a datagram.
    while metric_name.endswith(_SUFFIXES, 0, end):
        end = metric_name.rindex("_", 0, end)
    return metric_name[:end]


class Rendezvous:
    """Targets by their addresses; `choose` finds the one of a metric name."""

    def __init__(self, targets: Sequence[str]) -> None:
        self.targets = tuple(targets)
        # Sorted, so that the order of the targets decides nothing.
        self._hashers = [
            (index, hashlib.blake2b(target.encode() + b"\0", digest_size=SCORE_BYTES))
            for index, target in sorted(enumerate(targets), key=lambda pair: pair[1])
        ]

    def choose(self, metric_name: str, gone: Collection[int] = ()) -> int:
        """
        Return the index of the target of a metric name, which is escaped.

        Targets in `gone` are left out, unless all are.
        """
        key = family_key(metric_name).encode()
        if len(gone) == len(self._hashers):
            gone = ()
        best, chosen = b"", 0
        for index, hasher in self._hashers:
            if index in gone:
                continue
            scored = hasher.copy()
            scored.update(key)
            score = scored.digest()
            if score > best:
                best, chosen = score, index
        return chosen

    def target_of(self, metric_name: str) -> str:
        """Return the address of the target of a metric name."""
        return self.targets[self.choose(metric_name)]
