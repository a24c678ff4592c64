"""
The pictures in docs/pictures/: `make pictures`.

A bridge gets the traffic of a shop for 20 seconds, which its charts show as 15 minutes.
Those of the dashboards need a Grafana that runs: see dashboard_pictures.py.
"""

from __future__ import annotations

import math
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page

from tests.end_to_end.programs import BridgeProcess
from tests.end_to_end.web import dashboard_pictures, terminal_pictures
from tests.end_to_end.web.browser import Tab, open_browser
from tests.ports import HOST

ROOT = Path(__file__).parents[3]
PICTURES = ROOT / "docs" / "pictures"

SECONDS = 21.0
"""Until the charts are full."""

BATCHES_PER_SECOND = 50

MAPPING = """
mappings:
- match: shop.*.orders.*
  name: shop_orders_total
  labels: {country: $1, state: $2}
- match: shop.*.cart
  name: shop_cart_seconds
  observer_type: histogram
  histogram_options:
    buckets: [0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1, 1.5, 2]
  labels: {country: $1}
  ttl: 1h
- match: shop.*.waiting
  name: shop_waiting
  labels: {country: $1}
- match: debug.*
  name: unused
  action: drop
- match: shop.de.waiting
  name: shop_waiting_de
"""

COUNTRIES = ("at", "be", "de", "es", "fr", "it", "nl", "pl", "pt", "uk")
STATES = ("open", "paid", "sent", "returned")


class Picture(NamedTuple):
    """A picture: its size, the color scheme, and the section that it begins with."""

    name: str
    width: int
    height: int
    scheme: str
    section: str = "overview"


ALL = (
    Picture("page.png", 1280, 830, "light"),
    Picture("page-dark.png", 1280, 830, "dark"),
    Picture("page-phone.png", 360, 720, "light"),
    Picture("page-series.png", 1280, 480, "light", "series"),
    Picture("page-cardinality.png", 1280, 760, "light", "cardinality"),
    Picture("page-explain.png", 1280, 360, "light", "explain"),
)


def main() -> int:
    """Take all pictures; 1 without a browser."""
    try:
        _take_all()
    except pytest.skip.Exception as missing:
        print(missing, file=sys.stderr)
        return 1
    return 0


def _take_all() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        home = Path(folder)
        if grafana := os.environ.get("GRAFANA"):
            dashboard_pictures.take(browser, PICTURES, grafana)
        else:
            print("no pictures of the dashboards: give GRAFANA=http://127.0.0.1:3000")
        terminal_pictures.take(browser, PICTURES)
        (home / "shop.yml").write_text(MAPPING)
        path = f"{Path(__file__).with_name('fast_looks')}:{ROOT}"
        bridge = BridgeProcess(
            home,
            ["--statsd.mapping-config=shop.yml"],
            prefix=("env", f"PYTHONPATH={path}"),
        )
        try:
            with _traffic(bridge.wait()):
                time.sleep(SECONDS)
                for each in ALL:
                    _take(browser, bridge, each)
        finally:
            bridge.stop()


@contextmanager
def _traffic(bridge: BridgeProcess) -> Iterator[None]:
    """Send from a thread."""
    is_over = threading.Event()
    sender = threading.Thread(target=_send, args=(bridge, is_over))
    sender.start()
    try:
        yield
    finally:
        is_over.set()
        sender.join()


def _send(bridge: BridgeProcess, is_over: threading.Event) -> None:
    generator = random.Random(4)
    started = time.monotonic()
    while not is_over.wait(1 / BATCHES_PER_SECOND):
        passed = time.monotonic() - started
        # Two waves, like a day with two rush hours.
        load = 30 + 20 * math.sin(passed / 3.1) + 8 * math.sin(passed / 0.9)
        for _ in range(int(load)):
            bridge.send("\n".join(_lines(generator)).encode())
        if passed > SECONDS * 0.7 and generator.random() < 0.2:
            bridge.send(b"shop.de.orders.paid:many|c", b"shop.de.visits:1|c")


def _lines(generator: random.Random) -> list[str]:
    country = generator.choice(COUNTRIES)
    state = generator.choices(STATES, (4, 3, 2, 0.3))[0]
    milliseconds = generator.lognormvariate(5.3, 0.9)
    lines = [f"shop.{country}.orders.{state}:1|c"] * generator.randrange(1, 4)
    lines.append(f"shop.{country}.cart:{milliseconds:.0f}|ms")
    return [*lines, f"shop.{country}.waiting:{generator.randrange(40)}|g"]


def _take(browser: Browser, bridge: BridgeProcess, picture: Picture) -> None:
    tab = Tab(
        browser,
        f"http://{HOST}:{bridge.http}",
        viewport={"width": picture.width, "height": picture.height},
        color_scheme=picture.scheme,
    )
    page = tab.open()
    page.get_by_text("live, ").wait_for()
    _fill_in(page, picture.section)
    page.evaluate(
        "name => document.getElementById(name).scrollIntoView({behavior: 'instant'})",
        picture.section if picture.section != "overview" else "main",
    )
    if picture.section == "overview":
        page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
    page.screenshot(path=PICTURES / picture.name)
    tab.close()
    print(f"docs/pictures/{picture.name}", *tab.faults)


def _fill_in(page: Page, section: str) -> None:
    if section == "series":
        page.get_by_label("Search in names and labels").fill('shop "de"')
        page.get_by_role("button", name="Search").click()
        page.get_by_text("expires in").first.wait_for()
    elif section == "cardinality":
        page.get_by_label("Try a quota of").fill("20")
        page.get_by_role("button", name="Show").click()
        page.get_by_text("A quota of 20").wait_for()
    elif section == "explain":
        page.get_by_label("A statsd line").fill("shop.de.orders.paid:1|c|@0.5|#via:app")
        page.get_by_role("button", name="Explain").click()
        page.locator("#explain .steps").wait_for()


if __name__ == "__main__":
    sys.exit(main())
