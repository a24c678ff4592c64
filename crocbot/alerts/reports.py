"""
Reports of replicas, so that the one that leads knows the events of all.

    AlertEvents --> totals of this replica --> table alert_reports
         ^--------- what is new in the totals of the others <--'

Each replica takes the events of the others, not only the leader: so the next leader
knows those of the last minutes.  Errors of the inbox are not in a report: they are
those of the database, which then takes no report.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crocbot.alerts.events import AlertEvents, Times
from crocbot.alerts.keep import AlertKeeper, ReplicaReport
from crocbot.events import DiskSpace

MAX_DISK_AGE_SECONDS = 30.0
MAX_REPLICAS = 1000

Totals = Mapping[str, int]


@dataclass(slots=True, kw_only=True)
class Reports:
    """Records reports of `events` with `keeper`, and takes those of other replicas."""

    events: AlertEvents
    keeper: AlertKeeper
    _seen: dict[str, Totals] | None = field(default=None, init=False)

    async def exchange(self) -> None:
        """Record a report; take what is new in the others.  Raise StoreError."""
        found = await self.keeper.exchange(json.dumps(self._report()))
        self._take(found)

    @property
    def _times(self) -> Mapping[str, Times]:
        return {
            "conflicts": self.events.conflicts,
            "prompts": self.events.prompts,
            "agent_errors": self.events.agent_errors,
            "operator_errors": self.events.operator_errors,
        }

    def _report(self) -> Mapping[str, Any]:
        disk = self.events.disk
        return {
            "totals": {name: each.total for name, each in self._times.items()},
            "disk": None if disk is None else [disk.free, disk.size],
        }

    def _take(self, found: Sequence[ReplicaReport]) -> None:
        reports = {each.replica: json.loads(each.report) for each in found}
        totals: dict[str, Totals] = {
            name: report["totals"] for name, report in reports.items()
        }
        # Of the events before the start of this process there are no times.
        seen = dict(totals) if self._seen is None else self._seen
        for name, times in self._times.items():
            new = sum(
                each.get(name, 0) - seen.get(replica, {}).get(name, 0)
                for replica, each in totals.items()
            )
            times.add_others(max(0, new))
        # The totals of a replica that comes back are not taken again.
        gone = {name: each for name, each in seen.items() if name not in totals}
        self._seen = dict([*gone.items()][-MAX_REPLICAS:]) | totals
        self.events.other_disks = {
            each.replica: DiskSpace(free=disk[0], size=disk[1])
            for each in found
            if (disk := reports[each.replica]["disk"])
            and each.age < MAX_DISK_AGE_SECONDS
        }
