"""What is likely a mistake in a mapping file that loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from statsd_bridge import lint as lint_module
from statsd_bridge import mapping
from statsd_bridge.cli import main
from statsd_bridge.lint import lint


def findings(rules: str) -> list[tuple[str, str]]:
    """Return kind and key of each finding about rules in YAML, one a line."""
    report = lint(mapping.parse(f"mappings:\n{rules}", "f.yml"), "f.yml")
    return [(each.kind, each.key) for each in report.findings]


COUNTER = "match_metric_type: counter"
REGEX = f"match_type: regex, labels: {{a: $1}}, name: a, {COUNTER}"
FIRST_LABEL = "mappings[0].labels.a"


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ([f"match: a.*, name: a, labels: {{b: $1}}, {COUNTER}"], []),
        ([f"match: a.b, name: a, {COUNTER}", f"match: a.*, name: b, {COUNTER}"], []),
        (
            [f"match: a.*, name: a, {COUNTER}", f"match: a.b, name: b, {COUNTER}"],
            [("unreachable", "mappings[1]")],
        ),
        (
            [
                f"match: a.*.c, name: a, {COUNTER}",
                f"match: '*.b.c', name: b, {COUNTER}",
            ],
            [("overlap", "mappings[1].match")],
        ),
        (
            [
                f"match: ^x.y, match_type: regex, name: a, {COUNTER}",
                f"match: x.y, name: b, {COUNTER}",
            ],
            [("overlap", "mappings[0].match")],
        ),
        (
            [f"match: a.*, name: a, labels: {{user_id: $1}}, ttl: 1h, {COUNTER}"],
            [("free_text", "mappings[0].labels.user_id")],
        ),
        (
            [f"match: users.*.x, name: a, labels: {{a: $1}}, {COUNTER}"],
            [("free_text", "mappings[0].labels.a"), ("no_ttl", "mappings[0].ttl")],
        ),
        (
            [f"match: a(.*)b, ttl: 1h, {REGEX}"],
            [("free_text", "mappings[0].labels.a")],
        ),
        (
            [f"match: 'a([^.]*)b', {REGEX}"],
            [],
        ),
        *(
            ([f"match: '{match}', {REGEX}, ttl: 1h"], [("free_text", FIRST_LABEL)])
            for match in (
                *(r"a\.(\d+)", "a.([0-9a-f-]+)", r"a\.([a-z0-9]{12,})", r"a\.(.+@.+)"),
                *(r"a\.(\S+)", r"a.(?P<of>\d{6})", r"users\.(\w+)", "a.([^/]*)"),
            )
        ),
        *(
            ([f"match: '{match}', {REGEX}"], [])
            for match in (r"a\.(\w+)", r"a\.(\d{3})", r"a\.(b|c)", r"a\.(?:.*)\.(\w+)")
        ),
        ([f"match: 'a.(\\d+)', {REGEX.replace('{a:', '{shard:')}"], []),
        (
            [
                f"match: a.*, name: a, labels: {{userId: $1, ip: $1}}, ttl: 1h,"
                f" {COUNTER}"
            ],
            [
                ("free_text", "mappings[0].labels.ip"),
                ("free_text", "mappings[0].labels.userId"),
            ],
        ),
        # Each id would be a metric; a suffix that is cut off is none.
        (
            [f"match: user.*.hits, name: user_$1, {COUNTER}"],
            [("free_text", "mappings[0].name")],
        ),
        ([f"match: 'a.*.hits', name: a_$1, {COUNTER}"], []),
        ([f"match: '(.*).hits', match_type: regex, name: '${{1}}_n', {COUNTER}"], []),
        # A regex all of whose usual names go to another rule, and a general one last.
        (
            [f"match: '^a.(\\w+)', {REGEX}", f"match: '^a.b.(\\w+)', {REGEX}"],
            [("overlap", "mappings[1].match")],
        ),
        (
            [
                f"match: 'a.*', name: a, {COUNTER}",
                f"match: '^a\\.([a-z]+)$', {REGEX}",
            ],
            [("overlap", "mappings[1].match")],
        ),
        (
            [
                f"match: 'a.*', name: a, {COUNTER}",
                f"match: '^a[.].*$', match_type: regex, name: b, {COUNTER}",
            ],
            [],
        ),
        (
            [f"match: '^a.b.(\\w+)', {REGEX}", f"match: '^a.(\\w+)', {REGEX}"],
            [],
        ),
        (
            [f"match: '*.*.*.q', name: a, labels: {{a: $1, b: $2, c: $3}}, {COUNTER}"],
            [("no_ttl", "mappings[0].ttl")],
        ),
        (
            ["match: a.b, name: a, match_metric_type: observer"],
            [("summary", "mappings[0].observer_type")],
        ),
        (["match: a.time, name: a"], [("summary", "mappings[0].observer_type")]),
        (["match: a, name: a"], [("summary", "defaults.observer_type")]),
        (["match: a, name: a_total"], []),
        (["match: a.time, name: a_total"], [("summary", "mappings[0].observer_type")]),
        (["match: a, name: a, observer_type: histogram"], []),
        (["match: a.time, name: a, action: drop"], []),
        (
            [f"match: a, name: a, {COUNTER}, nme: x"],
            [("unknown_key", "mappings[0].nme")],
        ),
        ([f"match: a, name: b$1, {COUNTER}"], [("empty", "mappings[0].name")]),
        (
            ["match: a, name: b, timer_type: histogram"],
            [("legacy", "mappings[0].timer_type")],
        ),
    ],
)
def test_findings(rules: list[str], found: list[tuple[str, str]]) -> None:
    """Each kind of mistake is found, and its neighbour that is none is not."""
    assert findings("".join(f"- {{{rule}}}\n" for rule in rules)) == found


def test_the_gateways_own_file_is_clean() -> None:
    """So is what the demo and the containers use."""
    file = "crocbot/mapping.yml"
    assert lint(mapping.load(file), file).findings == ()


def test_many_findings_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are left out are mentioned; rules that overlap much take no longer."""
    monkeypatch.setattr(lint_module, "MAX_FINDINGS", 3)
    rules = "".join(f"- {{match: t{number}.time, name: a}}\n" for number in range(9))
    report = lint(mapping.parse(f"mappings:\n{rules}", "f.yml"), "f.yml")
    assert (len(report.findings), report.is_complete) == (3, False)
    assert report.as_text().endswith("f.yml: has more findings; mend these first\n")

    monkeypatch.undo()
    monkeypatch.setattr(lint_module, "MAX_VISITS", 10)
    rules = "".join(
        f"- {{match: a{number % 9}.*.{number}, name: a, {COUNTER}}}\n- {{match:"
        f" '*.b.{number}', name: b, {COUNTER}}}\n"
        for number in range(9)
    )
    assert ("incomplete", "mappings") in findings(rules)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0 clean, 1 with a line for each finding, 2 for a refused file."""
    file = tmp_path / "rules.yml"
    file.write_text(f"mappings: [{{match: a, name: b, {COUNTER}}}]")
    assert main(["lint", str(file)]) == 0
    assert capsys.readouterr().out == "clean: 1 rules\n"
    file.write_text("mappings: [{match: a.time, name: b, foo: 1}]")
    assert main(["lint", str(file)]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first == (
        f"{file}: mappings[0].foo: is an unknown key and is ignored; the next release"
        " of statsd_exporter refuses the file (line 1)"
    )
    assert second.startswith(f"{file}: mappings[0].observer_type: is summary, whose")
    assert main(["lint", "--json", str(file)]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [each["kind"] for each in document["findings"]] == ["unknown_key", "summary"]
    file.write_text("mappings: [{match: a}]")
    assert main(["lint", str(file)]) == 2

    file = tmp_path / "a\nb.yml"
    file.write_text("mappings: [{match: a, name: b, foo: 1}]")
    capsys.readouterr()
    assert main(["lint", str(file)]) == 1
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].startswith(rf"{tmp_path}/a\nb.yml: mappings[0].foo: is an unknown")
