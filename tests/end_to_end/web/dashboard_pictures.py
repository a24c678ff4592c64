"""
Pictures of the dashboards: `make pictures GRAFANA=http://127.0.0.1:3000`.

No package has Grafana, so it is not started here.  The address is that of one with
both dashboards that needs no login to view them, such as that of compose/compose.yml
after an hour with its simulated users.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ViewportSize

ROOT = Path(__file__).parents[3]
DASHBOARDS = ROOT / "compose" / "grafana" / "dashboards"
PICTURES = {
    "crocbot.json": "dashboard.png",
    "statsd-bridge.json": "dashboard-bridge.png",
}
SIZE = ViewportSize(width=1440, height=900)
TIMEOUT_MILLISECONDS = 60_000


def take(browser: Browser, folder: Path, address: str) -> None:
    """Take a picture of each dashboard, when all its open panels have their data."""
    for name, picture in PICTURES.items():
        dashboard: dict[str, Any] = json.loads((DASHBOARDS / name).read_text())
        context = browser.new_context(viewport=SIZE, color_scheme="light")
        context.set_default_timeout(TIMEOUT_MILLISECONDS)
        page = context.new_page()
        page.goto(f"{address.rstrip('/')}/d/{dashboard['uid']}?kiosk&refresh=")
        for panel in dashboard["panels"]:
            page.get_by_text(panel["title"], exact=True).first.wait_for()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=folder / picture)
        context.close()
        print(f"docs/pictures/{picture}")
