"""The Prometheus rules: valid, tested by cases, documented, with existing metrics."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from crocbot.alerts.table import ALERTS as OWN_ALERTS
from crocbot.alerts.table import AlertName
from crocbot.telemetry.catalogue import CATALOGUE, Metric
from statsd_bridge import exposition

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "compose" / "prometheus"
RULES = (PROMETHEUS / "rules" / "crocbot.yml", PROMETHEUS / "bridge" / "rules.yml")
CASES = (PROMETHEUS / "tests" / "alerts.yml", PROMETHEUS / "bridge" / "tests.yml")
PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed"
)


def rules() -> list[dict[str, Any]]:
    """Return all rules of the gateway and of a bridge alone, in order."""
    groups = [
        each for file in RULES for each in yaml.safe_load(file.read_text())["groups"]
    ]
    return [rule for group in groups for rule in group["rules"]]


def cases() -> list[dict[str, Any]]:
    """Return all cases."""
    return [
        each for file in CASES for each in yaml.safe_load(file.read_text())["tests"]
    ]


ALERTS = [rule["alert"] for rule in rules() if "alert" in rule]
RECORDS = {rule["record"] for rule in rules() if "record" in rule}


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run(
        [str(PROMTOOL), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def series_of(metric: Metric) -> set[str]:
    """Return the names of the series of a metric."""
    if metric.type != "histogram":
        return {metric.name}
    return {f"{metric.name}_{end}" for end in ("bucket", "sum", "count")}


def known() -> set[str]:
    """Return all names that a query may use."""
    ours = set().union(*map(series_of, CATALOGUE))
    return ours | exposition.reserved_names() | RECORDS | {"ALERTS"}


NAME = re.compile(r"\b(?:crocbot[_:]|statsd_bridge_|statsd_exporter_)[a-zA-Z0-9_:]*")


@needs_promtool
def test_promtool_accepts_the_rules() -> None:
    """Every expression and every template is valid."""
    done = promtool("check", "rules", *RULES)

    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_every_case_passes() -> None:
    """Alerts fire, or do not, as the cases say, starts and restarts included."""
    done = promtool("test", "rules", *CASES)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_both_cases(alert: str) -> None:
    """One case fails if it never fires, another if it always fires."""
    firing = f'ALERTS{{alertname="{alert}", alertstate="firing"}}'
    expected = [
        bool(check.get("exp_samples"))
        for case in cases()
        for check in case.get("promql_expr_test", [])
        if check["expr"] == firing
    ]

    assert set(expected) == {True, False}


AGGREGATION = re.compile(r"\b(?:sum|count|max|min|avg)\b(?!_)\s*(.{0,24})")


@pytest.mark.parametrize(
    "rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"]
)
def test_a_rule_is_by_job_and_instance(rule: dict[str, Any]) -> None:
    """Two gateways are never added up, and their alerts say which of them it is."""
    expression = " ".join(rule["expr"].split())

    assert all(
        after.startswith(("by (job, instance", "without ("))
        for after in AGGREGATION.findall(expression)
    )
    assert "absent" not in expression
    assert "on ()" not in expression


def test_alerts_that_fire_have_job_and_instance() -> None:
    """Each case expects both labels."""
    fired = [
        sample["labels"]
        for case in cases()
        for check in case.get("promql_expr_test", [])
        for sample in check.get("exp_samples", [])
    ]

    assert fired
    assert all("job=" in labels and "instance=" in labels for labels in fired)


def test_rules_use_only_metrics_that_exist() -> None:
    """Catalogue or bridge have every name; a rule with another would never fire."""
    used = {name for rule in rules() for name in NAME.findall(rule["expr"])}

    assert used - known() == set()


def test_cases_use_only_metrics_that_exist() -> None:
    """A case with another name would test nothing."""
    used = {
        name
        for case in cases()
        for series in case["input_series"]
        for name in NAME.findall(series["series"].partition("{")[0])
    }

    assert used - known() == set()


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_documented(alert: str) -> None:
    """It has a severity, a summary, two steps, and a runbook with a fix."""
    (rule,) = [rule for rule in rules() if rule.get("alert") == alert]
    annotations = rule["annotations"]
    path = ROOT / annotations["runbook"]
    page = path.read_text()
    steps = annotations["description"].splitlines()

    assert rule["labels"]["severity"] in ("critical", "warning")
    assert annotations["summary"].endswith(".")
    assert [step[:3] for step in steps] == ["1. ", "2. "]
    assert all(step.endswith(".") for step in steps)
    assert annotations["runbook_url"] == (
        "{{ with $externalLabels.runbooks }}"
        f'{{{{ reReplaceAll "/*$" "/{path.name}" . }}}}{{{{ end }}}}'
    )
    assert f"`{alert}`" in page
    assert "## Fix" in page


@pytest.mark.parametrize("name", OWN_ALERTS)
def test_an_alert_of_the_gateway_is_a_prometheus_alert(name: AlertName) -> None:
    """Those that it sends itself have the same name, severity and runbook."""
    (rule,) = [rule for rule in rules() if rule.get("alert") == name]
    alert = OWN_ALERTS[name]

    assert rule["labels"]["severity"] == alert.severity
    assert rule["annotations"]["runbook"] == f"docs/runbooks/{alert.runbook}"


def test_runbooks_use_only_metrics_that_exist() -> None:
    """The metrics that runbooks name exist."""
    pages = [page.read_text() for page in (ROOT / "docs" / "runbooks").glob("*.md")]
    used = {name for page in pages for name in re.findall(r"`[^`\n]*`", page)}
    names = {name for words in used for name in NAME.findall(words)}
    families = {metric.name for metric in CATALOGUE}

    assert names - known() - families == set()
