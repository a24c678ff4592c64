"""The quotas in force, and which families have room for another series."""

from __future__ import annotations

from typing import final

from statsd_bridge.series.family import MetricFamily
from statsd_bridge.series.quota import Quotas


@final
class FamilyQuotas:
    """
    Compares families with their quotas, all label combinations counted.

    `quotas` can be replaced: a lower quota removes no series, but refuses new ones.
    """

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas

    @property
    def quotas(self) -> Quotas:
        """The quotas in force."""
        return self._quotas

    def replace(self, quotas: Quotas) -> None:
        """Put other quotas in force, from the next new series on."""
        self._quotas.withdraw()
        self._quotas = quotas

    def has_room(self, family: MetricFamily | None) -> bool:
        """
        Return whether the quota of a family allows another series.

        A family that does not exist yet has room: no quota is less than 1.
        """
        if family is None:
            return True
        quota = family.quota
        if quota.is_withdrawn:
            quota = family.quota = self._quotas.find(family.name)
        return family.series_count < quota.max_series
