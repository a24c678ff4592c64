"""A real Prometheus with the project's rules, and the queries of the dashboard."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.end_to_end.world import World
from tests.ports import HOST, free_port

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "compose" / "grafana" / "dashboards" / "crocbot.json"
RULES = ROOT / "compose" / "prometheus" / "rules" / "crocbot.yml"
PROMETHEUS = shutil.which("prometheus")


class Prometheus:
    """A Prometheus that scrapes bridges every second, with the project's rules."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def query(self, query: str) -> list[dict[str, Any]]:
        """Evaluate a query now; an error fails the test."""
        async with self._session.get(
            f"{self.url}/api/v1/query", params={"query": query}
        ) as answer:
            found = await answer.json()
        assert found["status"] == "success", (query, found)
        return list(found["data"]["result"])

    async def value(self, query: str) -> float | None:
        """Return the only value of a query; None if it is empty."""
        found = await self.query(query)
        assert len(found) <= 1, (query, found)
        return float(found[0]["value"][1]) if found else None

    async def ready(self) -> bool:
        """Return whether it is ready."""
        try:
            async with self._session.get(f"{self.url}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False


@asynccontextmanager
async def prometheus(
    world: World, *, ports: Sequence[int] = (), rules: Path = RULES
) -> AsyncIterator[Prometheus]:
    """Run one that scrapes the bridge of a world, or bridges at these ports."""
    port = free_port()
    targets = [f"{HOST}:{each}" for each in ports or [world.web_port]]
    config = world.home / "prometheus.yml"
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(rules)],
                "scrape_configs": [
                    {
                        "job_name": "bridge",
                        "static_configs": [{"targets": targets}],
                    }
                ],
            }
        )
    )
    with (world.home / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(PROMETHEUS),
            f"--config.file={config}",
            f"--storage.tsdb.path={world.home / 'tsdb'}",
            f"--web.listen-address={HOST}:{port}",
            "--log.level=warn",
            stdout=log,
            stderr=log,
        )
    try:
        async with aiohttp.ClientSession() as session:
            server = Prometheus(f"http://{HOST}:{port}", session)
            await world.eventually(server.ready)
            yield server
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


def queries() -> list[tuple[str, str]]:
    """Return each query of the dashboard with its panel's title, variables replaced."""
    return [
        (
            panel["title"],
            target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*"),
        )
        for row in json.loads(DASHBOARD.read_text())["panels"]
        for panel in row.get("panels") or [row]
        for target in panel.get("targets", [])
    ]
