"""Pictures of the dashboards, of a page in the place of Grafana's."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Error

from tests.end_to_end.web import dashboard_pictures
from tests.end_to_end.web.browser import open_browser
from tests.ports import HOST

PNG = b"\x89PNG"


class Grafana(BaseHTTPRequestHandler):
    """Serves the titles of the panels of a dashboard, as a script adds them."""

    titles: dict[str, list[str]]
    asked: list[str]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(self.path)
        titles = json.dumps(self.titles.get(path, []))
        body = (
            "<!doctype html><link rel=icon href=data:,><script>"
            f"setTimeout(() => document.body.append(...{titles}.map("
            "t => Object.assign(document.createElement('h2'), {textContent: t}))), 9)"
            "</script>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def test_both_dashboards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is one file; a page that lacks a panel is an error."""
    titles = {}
    for name in dashboard_pictures.PICTURES:
        file = dashboard_pictures.DASHBOARDS / name
        dashboard = json.loads(file.read_text())
        titles[f"/d/{dashboard['uid']}"] = [p["title"] for p in dashboard["panels"]]
    asked: list[str] = []
    handler = type("Handler", (Grafana,), {"titles": titles, "asked": asked})
    with ThreadingHTTPServer((HOST, 0), handler) as server, open_browser() as browser:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            address = f"http://{HOST}:{server.server_port}/"
            dashboard_pictures.take(browser, tmp_path, address)
            taken = {file.name: file.read_bytes()[:4] for file in tmp_path.iterdir()}
            titles["/d/crocbot"].pop()
            monkeypatch.setattr(dashboard_pictures, "TIMEOUT_MILLISECONDS", 500)
            with pytest.raises(Error, match="Timeout"):
                dashboard_pictures.take(browser, tmp_path, address)
        finally:
            server.shutdown()

    assert taken == {"dashboard.png": PNG, "dashboard-bridge.png": PNG}
    assert all("kiosk" in each for each in asked)
