"""
Quotas: how many series a metric name may have.

A family gets its quota when its second series is to be created, and keeps it until
another quota file is in force: a new series then costs one comparison more.
"""

from __future__ import annotations

from typing import Final, Protocol, final

UNLIMITED: Final = 1 << 60


@final
class Quota:
    """The limit of series of each metric name that an entry of the file matches."""

    __slots__ = ("is_withdrawn", "max_series")

    def __init__(self, max_series: int = UNLIMITED) -> None:
        self.max_series = max_series
        self.is_withdrawn = False

    def withdraw(self) -> None:
        """Allow nothing any more: each family looks for its new quota."""
        self.max_series = 0
        self.is_withdrawn = True


def _withdrawn() -> Quota:
    quota = Quota()
    quota.withdraw()
    return quota


UNRESOLVED: Final = _withdrawn()
"""The quota of a family that has not looked for one yet."""


class Quotas(Protocol):
    """The quotas of all metric names."""

    def find(self, name: str) -> Quota:
        """Return the quota of a metric name."""

    def withdraw(self) -> None:
        """Withdraw each quota, since other ones take their place."""


@final
class NoQuotas:
    """Quotas that allow any number of series."""

    def __init__(self) -> None:
        self._quota = Quota()

    def find(self, _name: str) -> Quota:
        """Return a quota without a limit."""
        return self._quota

    def withdraw(self) -> None:
        """Withdraw this quota."""
        self._quota.withdraw()
