"""The page of a bridge in a real browser, with its script and without it."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, expect

from tests.end_to_end.programs import BridgeProcess, Start
from tests.end_to_end.web.browser import (
    PHONE,
    TIMEOUT_MILLISECONDS,
    WIDE,
    Tab,
    open_browser,
)
from tests.ports import HOST

pytestmark = pytest.mark.end_to_end

SCRIPT = "<script>alert(1)</script>"

MAPPING = r"""
mappings:
- match: api.*.*.requests
  name: api_requests_total
  labels: {method: $1, path: $2}
- match: api.latency.*
  name: api_latency_seconds
  observer_type: histogram
  ttl: 10m
  labels: {path: $1}
- match: api.GET.*.requests
  name: never
- match: 'debug\.(.*)'
  match_type: regex
  action: drop
  name: dropped
"""

LINES = (
    *(f"api.GET.p{number}.requests:1|c" for number in range(45)),
    *(f"api.latency.users:{number}|ms" for number in range(20, 400, 7)),
    f"{SCRIPT}:1|c",
    f"tagged:1|c|#path:{SCRIPT},direction:\u202eabc",
    f"{SCRIPT}:x|c",
    "queue.depth:7|g",
)

expect.set_options(timeout=TIMEOUT_MILLISECONDS)

Open = Callable[..., Tab]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    with open_browser() as browser:
        yield browser


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    """A mapping file."""
    file = tmp_path / "mapping.yml"
    file.write_text(MAPPING)
    return file


# A trial may take longer than 10 s where other tests run at the same time.
PATIENT = """
import sys
from statsd_bridge.cli import main
from statsd_bridge.service import trials
trials.TRIAL_SECONDS = 60.0
sys.exit(main(sys.argv[4:]))
"""


@pytest.fixture
def bridge(start: Start, mapping: Path) -> BridgeProcess:
    """A bridge with rules that has received lines of all kinds."""
    patient = sys.executable, "-c", PATIENT
    bridge = start(f"--statsd.mapping-config={mapping}", prefix=patient)
    bridge.send(*(line.encode() for line in LINES))
    bridge.scrape_until("queue_depth 7")
    return bridge


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[Open]:
    """Open tabs; a test fails if one of them had a fault."""
    tabs: list[Tab] = []

    def open_tab(bridge: BridgeProcess, path: str = "/", **options: Any) -> Tab:
        tab = Tab(browser, f"http://{HOST}:{bridge.http}", **options)
        tabs.append(tab)
        tab.open(path)
        return tab

    yield open_tab
    for tab in tabs:
        tab.close()
    assert [fault for tab in tabs for fault in tab.faults] == []


def test_traffic_appears_while_it_flows(start: Start, open_tab: Open) -> None:
    """Charts and series show what arrives after the page was opened, without reload."""
    bridge = start()
    page = open_tab(bridge).page
    legend = page.locator('[data-live="chart-lines"] .legend')
    expect(legend).to_contain_text("udp 0 max 0")
    expect(page.locator("#series")).to_contain_text("There are no series yet")

    bridge.send(*[b"arrived.now:1|c"] * 500)

    expect(legend).to_contain_text(re.compile("max [1-9]"))
    page.locator("#series").scroll_into_view_if_needed()
    expect(page.locator("#series tbody")).to_contain_text("arrived_now")
    expect(page.locator("#link-state")).to_contain_text("live")


def test_the_head_shows_what_runs_and_what_is_wrong(
    bridge: BridgeProcess, open_tab: Open, mapping: Path
) -> None:
    """It has addresses, rules and the last reload, and each problem with a link."""
    page = open_tab(bridge).page
    facts = page.locator(".facts")
    expect(facts).to_contain_text(f"127.0.0.1:{bridge.udp}")
    expect(facts).to_contain_text("4 rules")
    expect(facts).to_contain_text("none since the start")
    state = page.locator(".state")
    expect(state).to_contain_text("no rule")
    for link in state.get_by_role("link").all():
        target = link.get_attribute("href") or ""
        expect(page.locator(target)).to_have_count(1)

    mapping.write_text("mappings: 1")
    bridge.process.send_signal(signal.SIGHUP)

    expect(state).to_contain_text("reload was refused")
    expect(page.locator("#announcement")).to_contain_text("reload failed")


@pytest.mark.parametrize("javascript", [True, False])
def test_a_search_finds_series_in_pages(
    bridge: BridgeProcess, open_tab: Open, javascript: bool
) -> None:
    """All words must be in name or labels; links lead to further pages and back."""
    page = open_tab(bridge, java_script_enabled=javascript).page
    rows = page.locator("#series tbody tr")

    page.get_by_label("Search in names and labels").fill("requests get")
    page.get_by_role("button", name="Search").click()
    expect(rows.first).to_contain_text('api_requests_total{method="GET",path="p0"}')
    expect(rows).to_have_count(15)
    expect(rows.first).to_contain_text("line 3")

    name = rows.first.locator("th")
    first = name.inner_text()
    page.get_by_role("link", name="Next page").first.click()
    expect(name).not_to_have_text(first)
    page.get_by_role("link", name="Next page").first.click()
    expect(rows).to_have_count(15)
    expect(rows.last).to_contain_text('path="p9"')
    expect(page.get_by_role("link", name="Next page")).to_have_count(0)
    page.get_by_role("link", name="First page").click()
    expect(name).to_have_text(first)

    page.get_by_label("Search in names and labels").fill("")
    page.locator("#series").get_by_label("Type").select_option("histogram")
    page.get_by_role("button", name="Search").click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("expires in")
    expect(rows.get_by_role("img", name="most values in the one")).to_be_visible()

    page.get_by_label("Search in names and labels").fill("nothing like it")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#series")).to_contain_text("No live series matches.")


@pytest.mark.parametrize("javascript", [True, False])
def test_the_names_with_the_most_series_come_first(
    bridge: BridgeProcess, open_tab: Open, javascript: bool
) -> None:
    """Each has its labels by number of values, and what a quota would cut."""
    page = open_tab(bridge, java_script_enabled=javascript).page
    section = page.locator("#cardinality")
    first = section.locator("tbody tr").first
    expect(first).to_contain_text("api_requests_total")
    expect(first).to_contain_text("45")

    page.get_by_label("Try a quota of").fill("40")
    page.get_by_role("button", name="Show").click()
    expect(section).to_contain_text("A quota of 40 would cut 5 series of 1 name.")
    expect(first).to_contain_text("5 over")
    expect(first).to_contain_text("path 45")

    section.get_by_label("Most").select_option("bytes")
    page.get_by_role("button", name="Show").click()
    expect(section.locator("caption")).to_contain_text("most bytes")
    first.get_by_role("link").click()
    expect(page.locator("#series tbody tr").first).to_contain_text("api_requests_total")


@pytest.mark.parametrize("javascript", [True, False])
def test_a_line_is_explained_step_by_step(
    bridge: BridgeProcess, open_tab: Open, javascript: bool
) -> None:
    """Steps, near misses and series are shown, and the link to share has them, too."""
    page = open_tab(bridge, java_script_enabled=javascript).page
    page.get_by_label("A statsd line").fill("api.GET.users.requests:3|c")
    page.get_by_role("button", name="Explain").click()

    steps = page.locator("#explain .steps")
    for text in ("$1 = GET", "mappings[0] goes first", "recorded", "counter"):
        expect(steps).to_contain_text(text)
    series = 'api_requests_total{method="GET",path="users"}'
    expect(steps).to_contain_text(series)

    link = page.get_by_role("link", name="link to this explanation")
    address = link.evaluate("each => each.href").partition("/explain")
    shared = open_tab(bridge, "".join(address[1:])).page
    expect(shared.locator("#explain .steps")).to_contain_text(series)


@pytest.mark.parametrize("javascript", [True, False])
def test_a_rule_leads_to_what_it_does(
    bridge: BridgeProcess, open_tab: Open, javascript: bool
) -> None:
    """Rules have line and hits, and say if they have none or cannot match."""
    page = open_tab(bridge, java_script_enabled=javascript).page
    rules = page.locator("#rules tbody tr")
    expect(rules.nth(0)).to_contain_text("45")
    expect(rules.nth(2)).to_contain_text("cannot match")
    expect(rules.nth(2)).to_contain_text("line 3")
    expect(rules.nth(3)).to_contain_text("never matched")
    rules.nth(0).get_by_role("link", name="explain").click()
    expect(page.locator("#explain .steps")).to_contain_text("api_requests_total")

    if not javascript:
        page.go_back()
    page.get_by_role("link", name="cannot match").click()
    expect(rules).to_have_count(1)


@pytest.mark.parametrize("javascript", [True, False])
def test_a_mapping_is_tried(
    bridge: BridgeProcess, open_tab: Open, mapping: Path, javascript: bool
) -> None:
    """The page shows what another file would change, and nothing changes."""
    page = open_tab(bridge, java_script_enabled=javascript).page
    result = page.locator("#try .result")

    def try_file(text: str) -> None:
        page.get_by_label("Mapping file").fill(text)
        page.get_by_role("button", name="Try").click()

    try_file(mapping.read_text())
    expect(result).to_contain_text("the same")

    try_file(MAPPING.replace("api_latency_seconds", "renamed_seconds"))
    expect(result).to_contain_text("1 series appears")
    row = result.locator("tbody tr")
    for text in ("api.latency.users", "renamed", "api_latency_seconds", "histogram"):
        expect(row).to_contain_text(text)

    try_file(f"mappings: {SCRIPT}")
    expect(result).to_contain_text("refused")
    expect(result).to_contain_text(SCRIPT)
    assert "renamed_seconds" not in bridge.get("/metrics")


@pytest.mark.parametrize("javascript", [True, False])
def test_what_senders_write_is_text(
    bridge: BridgeProcess, open_tab: Open, javascript: bool
) -> None:
    """Markup of names, labels and lines is shown; what cannot be seen is escaped."""
    page = open_tab(bridge, java_script_enabled=javascript).page
    assert page.locator("script").count() == 1
    page.get_by_label("Search in names and labels").fill(SCRIPT)
    page.get_by_role("button", name="Search").click()
    found = page.locator("#series tbody tr")
    expect(found).to_have_count(1)
    expect(found).to_contain_text(f'path="{SCRIPT}"')
    expect(found).to_contain_text(r"\u202eabc")
    page.goto(page.url.partition("/ui")[0])

    page.get_by_role("link", name="All, with a rule to paste").click()
    names, lines = page.locator("#unmapped tbody").all()
    expect(names).to_contain_text(SCRIPT)
    expect(lines).to_contain_text(f"{SCRIPT}:x|c")
    names.get_by_text("rule", exact=True).first.click()
    expect(names.locator("pre").first).to_contain_text("match:")

    page.goto(f"{page.url.partition('/debug')[0]}/explain?line={quote(LINES[-2])}")
    expect(page.locator("#explain")).to_contain_text(f"{SCRIPT}:x|c")
    assert page.locator("script").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/explain?line=api.x:1|c", "/debug/unmapped"])
def test_nobody_is_kept_out(
    bridge: BridgeProcess, open_tab: Open, scheme: str, path: str
) -> None:
    """axe-core finds no serious fault, and on a phone nothing scrolls sideways."""
    for viewport in (WIDE, PHONE):
        tab = open_tab(bridge, path, color_scheme=scheme, viewport=viewport)
        if path == "/":
            expect(tab.page.locator("#link-state")).to_contain_text("live")
        assert tab.accessibility_faults() == []
        assert tab.overflow() == 0


@pytest.mark.parametrize("width", [320, 600, 800, 1024, 1280])
def test_long_texts_fit(bridge: BridgeProcess, open_tab: Open, width: int) -> None:
    """Names, labels and lines of thousands of characters make no page wider."""
    tags = ",".join(f"{'k' * 60}{number}:{'v' * 300}" for number in range(20))
    bridge.send(f"{'n' * 900}:1|c|#{tags}".encode(), f"{'y' * 3000}:x|c".encode())
    bridge.scrape_until("n" * 900)
    size = {"width": width, "height": 900}
    tab = open_tab(bridge, viewport=size)
    assert tab.overflow() == 0
    for path in ("/ui/series?search=nnn", "/ui/cardinality?max_series=1"):
        tab.open(path)
        assert tab.overflow() == 0
    tab.open(f"/explain?line={'n' * 900}:1%7Cc")
    assert tab.overflow() == 0


def test_the_keyboard_reaches_the_content_first(
    bridge: BridgeProcess, open_tab: Open
) -> None:
    """The first stop is a link that skips the navigation."""
    page = open_tab(bridge).page
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to content")
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_a_bridge_that_does_not_answer_is_reported(
    start: Start, open_tab: Open
) -> None:
    """The page says so, also to screen readers, and says when it answers again."""
    bridge = start()
    tab = open_tab(bridge)
    state = tab.page.locator("#link-state")
    expect(state).to_contain_text("live")
    # The browser logs each request that fails, until the tab is closed.
    tab.expected = "net::ERR_"
    bridge.stop()
    expect(state).to_contain_text("The bridge does not answer")
    expect(tab.page.locator("#announcement")).to_contain_text("does not answer")


def test_a_hidden_page_asks_nothing(bridge: BridgeProcess, browser: Browser) -> None:
    """The script polls while the page is visible, and pauses while it is not."""
    tab = Tab(browser, f"http://{HOST}:{bridge.http}")
    page = tab.page
    page.clock.install()
    tab.open()
    expect(page.locator("#link-state")).to_contain_text("live")
    # What it asks for at first comes in several answers.
    page.wait_for_load_state("networkidle")
    hide = "hidden => Object.defineProperty(document, 'hidden', {get: () => hidden})"
    page.evaluate(f"({hide.replace('{get', '{configurable: true, get')})(true)")
    before = len(tab.requests)
    page.clock.run_for(60_000)
    assert len(tab.requests) == before

    page.evaluate(f"({hide.replace('{get', '{configurable: true, get')})(false)")
    with page.expect_response("**/ui/live"):
        page.clock.run_for(5_000)
    tab.close()
    assert tab.faults == []


def test_metrics_at_the_root_leave_the_page_at_ui(start: Start, open_tab: Open) -> None:
    """With `--web.telemetry-path=/` the page is at /ui and works there."""
    bridge = start("--web.telemetry-path=/")
    bridge.send(b"a.b:1|c")
    assert "statsd_exporter_lines_total" in bridge.get("/")
    page = open_tab(bridge, "/ui").page
    expect(page.locator("#link-state")).to_contain_text("live")
    page.get_by_label("A statsd line").fill("a.b:1|c")
    page.get_by_role("button", name="Explain").click()
    expect(page.locator("#explain .steps")).to_contain_text("a_b")
    link = page.get_by_role("link", name="Metrics")
    assert link.evaluate("each => new URL(each.href).pathname") == "/"


def test_users_guard_the_page(
    start: Start, browser: Browser, tmp_path: Path, hashed: Any
) -> None:
    """Without a password there is nothing, with one the page stays alive."""
    config = tmp_path / "web.yml"
    config.write_text(json.dumps({"basic_auth_users": {"ada": hashed("word")}}))
    bridge = start(f"--web.config.file={config}")
    for path in ("/", "/ui/live", "/ui/series", "/ui/static/page.js", "/api/v1/status"):
        assert bridge.request(path)[0] == 401

    credentials = {"username": "ada", "password": "word"}
    tab = Tab(browser, f"http://{HOST}:{bridge.http}", http_credentials=credentials)
    page = tab.open()
    expect(page.locator("#link-state")).to_contain_text("live")
    expect(page.locator(".state")).to_contain_text("All is well.")
    tab.close()
    assert tab.faults == []


def test_without_the_page_there_are_its_two_links(start: Start) -> None:
    """With `--no-web.ui` nothing of it is served, and browsers get JSON as before."""
    bridge = start("--no-web.ui")
    assert "<title>StatsD Exporter</title>" in bridge.get("/")
    for path in ("/ui", "/ui/live", "/ui/static/page.css", "/api/v1/status"):
        assert bridge.request(path)[0] == 404
    explained = bridge.get("/explain?line=a:1%7Cc", Accept="text/html")
    assert json.loads(explained)["line"] == "a:1|c"
