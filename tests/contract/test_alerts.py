"""The Prometheus rules: checked by promtool, true to the catalogue, and explained."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from crocbot.telemetry.catalogue import CATALOGUE, Metric
from statsd_bridge import exposition

ROOT = Path(__file__).parents[2]
RULES = ROOT / "compose" / "prometheus" / "rules" / "crocbot.yml"
CASES = ROOT / "compose" / "prometheus" / "tests" / "alerts.yml"
PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed"
)


def rules() -> list[dict[str, Any]]:
    """Every rule, in order."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = [rule["alert"] for rule in rules() if "alert" in rule]
RECORDS = {rule["record"] for rule in rules() if "record" in rule}


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run(
        [str(PROMTOOL), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def series_of(metric: Metric) -> set[str]:
    """The names of the series that a metric has in Prometheus."""
    if metric.type != "histogram":
        return {metric.name}
    return {f"{metric.name}_{end}" for end in ("bucket", "sum", "count")}


def known() -> set[str]:
    """Every name that a query may use."""
    ours = set().union(*map(series_of, CATALOGUE))
    return ours | exposition.reserved_names() | RECORDS | {"ALERTS"}


NAME = re.compile(r"\b(?:crocbot[_:]|statsd_bridge_|statsd_exporter_)[a-zA-Z0-9_:]*")


@needs_promtool
def test_promtool_takes_the_rules() -> None:
    """Every expression and every template is one."""
    done = promtool("check", "rules", RULES)

    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_every_case_comes_out() -> None:
    """Alerts fire and stay quiet as the cases say, also through starts and restarts."""
    done = promtool("test", "rules", CASES)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_both_cases(alert: str) -> None:
    """There is a case that fails if it never fires, and one if it always does."""
    firing = f'ALERTS{{alertname="{alert}", alertstate="firing"}}'
    expected = [
        bool(check.get("exp_samples"))
        for case in yaml.safe_load(CASES.read_text())["tests"]
        for check in case["promql_expr_test"]
        if check["expr"] == firing
    ]

    assert set(expected) == {True, False}


def test_rules_use_only_metrics_that_exist() -> None:
    """A name that the catalogue or the bridge does not know would never fire."""
    used = {name for rule in rules() for name in NAME.findall(rule["expr"])}

    assert used - known() == set()


def test_cases_use_only_metrics_that_exist() -> None:
    """A case with a wrong name would prove nothing."""
    cases = yaml.safe_load(CASES.read_text())["tests"]
    used = {
        name
        for case in cases
        for series in case["input_series"]
        for name in NAME.findall(series["series"].partition("{")[0])
    }

    assert used - known() == set()


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_to_do(alert: str) -> None:
    """It has a severity, a summary, and a page that names it and says how to fix it."""
    (rule,) = [rule for rule in rules() if rule.get("alert") == alert]
    page = (ROOT / rule["annotations"]["runbook"]).read_text()

    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"].endswith(".")
    assert f"`{alert}`" in page
    assert "## Fix" in page


def test_runbooks_use_only_metrics_that_exist() -> None:
    """What a page tells to look at is there."""
    pages = [page.read_text() for page in (ROOT / "docs" / "runbooks").glob("*.md")]
    used = {name for page in pages for name in re.findall(r"`[^`\n]*`", page)}
    names = {name for words in used for name in NAME.findall(words)}
    families = {metric.name for metric in CATALOGUE}

    assert names - known() - families == set()
