"""
The page that `crocbot status` reads.

    GET /status    {"lines": [...], "metrics": {series: value}, "state": "64769:1234"}

`lines` is what the command /status shows, empty until Telegram was reached; `state`
identifies the state directory, so that the command knows whose page it is.  It has no
secret and nothing that a person wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from aiohttp import web

from crocbot.state_dir import identity


class StatusSource(Protocol):
    """The running gateway."""

    def status_lines(self) -> Sequence[str]:
        """Return what the command /status shows."""


class MetricTotals(Protocol):
    """The metrics that the page shows."""

    def read(self) -> Mapping[str, float]:
        """Return the values by series."""


class StatusPage:
    """The page; `gateway` is None until Telegram was reached."""

    def __init__(self, state_dir: Path, totals: MetricTotals | None) -> None:
        self._state_dir = state_dir
        self._totals = totals
        self.gateway: StatusSource | None = None

    async def handle(self, _: web.Request) -> web.Response:
        """Answer a request."""
        gateway, totals = self.gateway, self._totals
        page = {
            "lines": [] if gateway is None else list(gateway.status_lines()),
            "metrics": {} if totals is None else dict(totals.read()),
            "state": identity(self._state_dir),
        }
        return web.json_response(page, headers={"Cache-Control": "no-store"})
