"""The Grafana dashboards: valid, with existing metrics, and complete."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from crocbot.telemetry.catalogue import CATALOGUE, Metric
from statsd_bridge import exposition

ROOT = Path(__file__).parents[2]
DASHBOARDS = ROOT / "compose" / "grafana" / "dashboards"
PROMETHEUS = ROOT / "compose" / "prometheus"
# Dashboards --> the rules whose alerts they show.
RULES = {
    "crocbot.json": PROMETHEUS / "rules" / "crocbot.yml",
    "statsd-bridge.json": PROMETHEUS / "bridge" / "rules.yml",
}
FIRST_PANELS = 5

BOARDS: dict[str, dict[str, Any]] = {
    name: json.loads((DASHBOARDS / name).read_text()) for name in RULES
}


def levels(board: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Return the panels that are seen first, then those of each collapsed row."""
    return [board["panels"], *(p["panels"] for p in board["panels"] if p.get("panels"))]


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all panels and rows."""
    return [panel for level in levels(board) for panel in level]


PANELS = [
    (name, panel)
    for name, board in BOARDS.items()
    for panel in panels(board)
    if panel["type"] != "row"
]
SHOWING = [panel for _, panel in PANELS]
each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
NAME = re.compile(r"\b(?:crocbot[_:]|statsd_|process_|python_)[a-zA-Z0-9_:]*")


def queries() -> list[tuple[str, str]]:
    """Return each query with its panel's title, variables replaced."""
    return [
        (panel["title"], plain(target["expr"]))
        for panel in SHOWING
        for target in panel["targets"]
    ]


def plain(query: str) -> str:
    """Replace the variables of a query."""
    return query.replace("$__rate_interval", "1m").replace("$instance", ".*")


@each_board
def test_panel_ids_are_unique(board: dict[str, Any]) -> None:
    """Each panel has its own id, by which Grafana opens it."""
    ids = [panel["id"] for panel in panels(board)]

    assert len(set(ids)) == len(ids)


@each_board
def test_panels_do_not_overlap(board: dict[str, Any]) -> None:
    """Each is within the 24 columns of the grid, and none covers another."""

    def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
        return (
            one["x"] < other["x"] + other["w"]
            and other["x"] < one["x"] + one["w"]
            and one["y"] < other["y"] + other["h"]
            and other["y"] < one["y"] + one["h"]
        )

    for level in levels(board):
        places = [panel["gridPos"] for panel in level]
        assert all(0 <= place["x"] <= 24 - place["w"] for place in places)
        assert all(place["w"] > 0 and place["h"] > 0 for place in places)
        assert not any(overlap(one, other) for one, other in combinations(places, 2))


@each_board
def test_little_is_seen_first(board: dict[str, Any]) -> None:
    """Five panels and the alerts that fire; all others are in collapsed rows."""
    first = [panel for panel in board["panels"] if panel["type"] != "row"]
    rows = [panel for panel in board["panels"] if panel["type"] == "row"]

    assert len(first) == FIRST_PANELS + 1
    assert first[-1]["title"] == "Firing alerts"
    assert rows
    assert all(row["collapsed"] and row["panels"] for row in rows)


@pytest.mark.parametrize("name", BOARDS)
def test_an_alert_has_its_runbook(name: str) -> None:
    """The panel of firing alerts names the page of each alert."""
    (panel,) = [p for p in panels(BOARDS[name]) if p["title"] == "Firing alerts"]
    (override,) = panel["fieldConfig"]["overrides"]
    (mapping,) = override["properties"][0]["value"]
    groups = yaml.safe_load(RULES[name].read_text())["groups"]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]

    assert {alert: each["text"] for alert, each in mapping["options"].items()} == {
        rule["alert"]: rule["annotations"]["runbook"] for rule in alerts
    }


@each_board
def test_no_job_is_named(board: dict[str, Any]) -> None:
    """The dashboard works whatever the job of the bridge is called."""
    assert "job=" not in json.dumps(board).replace("job=~", "")


@pytest.mark.parametrize(
    ("name", "panel"),
    PANELS,
    ids=lambda value: value if isinstance(value, str) else value["title"],
)
def test_a_panel_is_described(name: str, panel: dict[str, Any]) -> None:
    """It has a title, a description, a unit, legends, and no fixed data source."""
    targets = panel["targets"]
    sources = [panel["datasource"], *(target["datasource"] for target in targets)]

    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert len({target["refId"] for target in targets}) == len(targets) > 0
    assert all(target["legendFormat"] or panel["type"] == "stat" for target in targets)
    assert all(source["uid"] == "${datasource}" for source in sources)


@pytest.mark.parametrize(
    ("name", "panel"),
    PANELS,
    ids=lambda value: value if isinstance(value, str) else value["title"],
)
def test_a_panel_adds_up_no_gateways(name: str, panel: dict[str, Any]) -> None:
    """Every sum is by job and instance, and legends say which gateway it is."""
    for target in panel["targets"]:
        after = re.findall(
            r"\b(?:sum|max|min|count|avg)\b(?!_)(.{0,20})", target["expr"]
        )
        assert all(each.startswith(" by (job, instance") for each in after)
        assert "{{instance}}" in target["legendFormat"] or panel.get("repeat")


ONE_GATEWAY = re.compile(
    r"crocbot_(process|event_loop|gc|emitter|inbox|pushed_rows|threads|instance"
    r"|database|leases?)_?"
)


def test_panels_add_up_replicas() -> None:
    """Sums over turns, people and Telegram join replicas; processes stay apart."""
    apart = [
        (panel["title"], target["expr"])
        for panel in panels(BOARDS["crocbot.json"])
        for target in panel.get("targets", [])
        if re.search(r"\b(increase|rate)\(crocbot_", target["expr"])
        if not ONE_GATEWAY.search(target["expr"])
        if "crocbot:replica:info" not in target["expr"]
    ]

    assert apart == []


def test_panels_show_the_newest_leader() -> None:
    """Gauges that only the leader sends are not those of a former one."""
    old = [
        (panel["title"], target["expr"])
        for panel in panels(BOARDS["crocbot.json"])
        for target in panel.get("targets", [])
        if re.search(r"crocbot_(inbox|telegram_p|pushed_rows)", target["expr"])
        if "increase(" not in target["expr"]
        if "crocbot:leader:former" not in target["expr"]
    ]

    assert old == []


@each_board
def test_titles_are_unique(board: dict[str, Any]) -> None:
    """A title names one panel."""
    titles = [panel["title"] for panel in panels(board)]

    assert sorted(set(titles)) == sorted(titles)


@each_board
def test_the_data_source_is_a_variable(board: dict[str, Any]) -> None:
    """The data source is chosen at import."""
    variables = {each["name"]: each for each in board["templating"]["list"]}

    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(board))) <= {
        *variables,
        "__rate_interval",
        "__all",
    }


def series_of(metric: Metric) -> set[str]:
    """Return the names of the series of a metric."""
    if metric.type != "histogram":
        return {metric.name}
    return {f"{metric.name}_{end}" for end in ("bucket", "sum", "count")}


def test_panels_use_only_metrics_that_exist() -> None:
    """A panel with another name would stay empty."""
    groups = yaml.safe_load(RULES["crocbot.json"].read_text())["groups"]
    records = {rule.get("record") for group in groups for rule in group["rules"]}
    known = {
        *(name for metric in CATALOGUE for name in series_of(metric)),
        *exposition.reserved_names(),
        *records,
    }
    used = {name for _, query in queries() for name in NAME.findall(query)}

    assert used - known == set()


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_every_metric_of_the_gateway_is_shown(metric: Metric) -> None:
    """Each metric of the catalogue has a panel."""
    used = {name for _, query in queries() for name in NAME.findall(query)}

    assert used & series_of(metric)


def test_every_query_can_be_parsed(tmp_path: Path) -> None:
    """Prometheus' parser accepts all queries, those of docs/metrics.md included."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    examples = [(metric.name, metric.query) for metric in CATALOGUE]
    rules = [
        {"record": f"query:{number}", "expr": query}
        for number, (_, query) in enumerate([*queries(), *examples])
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    done = subprocess.run(
        [promtool, "check", "rules", str(file)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
