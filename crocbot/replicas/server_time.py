"""
The time of the database server, by the clock of leases of this process.

    answers of the server --> between `low` and `high` of this process's clock
          '-- an answer that does not fit: the server's clock was changed

A lease that another replica has may only be taken once it has ended.  The server's
clock says when; but that clock may be changed by hours, forward or back, while the
lease is in use.  So this process counts on from what it knew of the server's clock:
neither a change of that clock, nor a statement that is late, ends a lease too early.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# Clocks are slewed by less; a smaller step is less than leases have to spare.
DRIFT = 0.001
MAX_ERROR_SECONDS = 0.5


@dataclass(slots=True)
class ServerTime:
    """What is known of the server's clock; all other times are of `leases.now()`."""

    _low: float | None = field(default=None, init=False)
    _high: float = field(default=0.0, init=False)
    _at: float = field(default=0.0, init=False)

    def sample(self, time: float, *, asked_at: float, answered_at: float) -> bool:
        """Take the time of the server; return whether its clock was changed."""
        low, high = time - answered_at, time - asked_at
        last_low, self._low = self._low, low
        last_high, self._high = self._high, high
        drift, self._at = DRIFT * (answered_at - self._at), answered_at
        if last_low is None:
            return False
        last_low, last_high = last_low - drift, last_high + drift
        if low > last_high + MAX_ERROR_SECONDS or high < last_low - MAX_ERROR_SECONDS:
            return True
        # What both samples allow.
        self._low, self._high = max(low, last_low), min(high, last_high)
        return False

    def earliest(self, now: float) -> float | None:
        """Return the earliest that the server's time can be; None before a sample."""
        return None if self._low is None else now + self._low
