"""Quotas: their file, the entry of a name, and what both paths do beyond them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge import cli, quotas
from statsd_bridge.errors import ConfigError
from statsd_bridge.series.quota import UNLIMITED
from tests.statsd_bridge.in_memory import (
    BOTH_PATHS,
    InMemoryPath,
    MakePipeline,
    assert_same_results,
    quota_table,
)

FILE = """
quotas:
- {match: api_hits, max_series: 1}
- {match: api_*, max_series: 2}
- {match: "*_tot?l", max_series: 3}
- {match: free, max_series: 0}
- {match: f*, max_series: 4}
- {match: api_other, max_series: 5}
"""


@pytest.mark.parametrize(
    ("name", "max_series"),
    [
        ("api_hits", 1),
        ("api_hits_total", 2),
        ("api_", 2),
        ("api_other", 2),
        ("a_total", 3),
        ("a_totl", UNLIMITED),
        ("free", UNLIMITED),
        ("f", 4),
        ("api", UNLIMITED),
    ],
)
def test_the_first_entry_that_matches_decides(name: str, max_series: int) -> None:
    """Whatever its kind: a name, a prefix or a pattern; 0 is no quota."""
    assert quota_table(FILE).find(name).max_series == max_series


@given(
    st.lists(st.text("ab_*?", min_size=1, max_size=6), max_size=8),
    st.text("ab_", min_size=1, max_size=8),
)
def test_any_globs_are_found_as_if_tried_in_turn(
    globs: Sequence[str], name: str
) -> None:
    """The index of globs gives the first one that a regex of its own matches."""
    table = quotas.QuotaTable([(glob, i + 1) for i, glob in enumerate(globs)])
    expected = UNLIMITED
    for i, glob in reversed([*enumerate(globs)]):
        if re.fullmatch(glob.replace("?", ".").replace("*", ".*"), name):
            expected = i + 1

    assert table.find(name).max_series == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("quotas: 7", "quotas: '7' is not a list (line 1)"),
        ("quotas:\n- 7", "quotas[0]: '7' is not a mapping of keys to values (line 2)"),
        ("quotas: [{max_series: 1}]", "quotas[0].match: is missing"),
        ("quotas: [{match: a.*, max_series: 1}]", "quotas[0].match: 'a.*' matches no"),
        ("quotas: [{match: '[ab]', max_series: 1}]", "quotas[0].match: '[ab]' matches"),
        ("quotas: [{match: a}]", "quotas[0].max_series: is missing"),
        ("quotas: [{match: a, max_series: }]", "quotas[0].max_series: is missing"),
        ("quotas: [{match: a, max_series: x}]", "quotas[0].max_series: 'x' is not a"),
        ("quotas: [{match: a, max_series: '9'}]", "take off the quotes"),
        ("quotas: [{match: a, max_series: 1.5}]", "max_series: 1.5 is not a whole"),
        ("quotas: [{match: a, max_series: -1}]", "max_series: -1 is not a whole"),
        ("quotas: [{match: a, max_series: .nan}]", "max_series: nan is not a whole"),
        (
            "quotas: [{match: a, max_serie: 1}]",
            "quotas[0].max_serie: is an unknown key",
        ),
        ("quota: []", "quota: is an unknown key; did you mean quotas?"),
        ("quotas: [{match: a, match: b, max_series: 1}]", "quotas[0].match: is given"),
        (f"quotas: [{{match: {'a' * 257}, max_series: 1}}]", "longer than 256"),
        ("quotas: [" + "{match: a, max_series: 1}," * 1001 + "]", "quotas: has 1001"),
        ("quotas: [" + "{match: '*a', max_series: 1}," * 101 + "]", "more than 100"),
        ("quotas: [", "q.yml: line 2, column 1: "),
    ],
)
def test_an_invalid_file_is_refused_with_file_and_key(text: str, problem: str) -> None:
    """In one line."""
    with pytest.raises(ConfigError) as raised:
        quotas.parse(text, "q.yml")

    assert problem in str(raised.value)
    assert str(raised.value).startswith("q.yml: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "{}", "quotas:", "quotas: []"])
def test_a_file_may_have_no_quotas(text: str) -> None:
    """Like a mapping file without rules."""
    assert quotas.parse(text, "q.yml") == []


def test_the_example_of_the_documentation_is_valid() -> None:
    """With the quotas that the page explains."""
    page = Path(__file__).parents[2] / "docs" / "bridge.md"
    example = page.read_text().partition("```text\nquotas:")[2].partition("```")[0]
    table = quota_table(f"quotas:{example}")
    names = ("api_hits", "checkout_seconds", "other")

    assert [table.find(name).max_series for name in names] == [1000, UNLIMITED, 200]


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    """Before it is parsed."""
    file = tmp_path / "quotas.yml"
    file.write_text("#" * (quotas.MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigError, match=r"is larger than 1048576 bytes"):
        quotas.load(str(file))


def test_a_file_that_has_not_changed_is_the_same_table(tmp_path: Path) -> None:
    """So that no family looks for its quota again."""
    file = tmp_path / "quotas.yml"
    file.write_text(FILE)
    table = quotas.load(str(file), default=9)

    assert quotas.load(str(file), default=9, current=table) is table
    assert table.find("unlisted").max_series == 9
    file.write_text("")
    assert quotas.load(str(file), default=9, current=table) is not table


def test_the_check_of_a_configuration_reads_the_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With exit code 2 and one line, or 0."""
    file = tmp_path / "quotas.yml"
    command = [f"--statsd.quota-config={file}", "--check-config"]
    file.write_text(FILE)
    assert cli.main(command) == 0
    file.write_text("quotas: [{match: a, max_series: x}]")
    capfd.readouterr()

    assert cli.main(command) == 2
    error = capfd.readouterr().err
    assert error.startswith(f"statsd-bridge: {file}: quotas[0].max_series: 'x'")
    assert error.count("\n") == 1


def test_the_flag_alone_is_a_quota_of_each_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without a quota file, too; without the flag there is none."""
    lines = [f"{name}:1|c|#id:{number}" for name in "ab" for number in range(3)]
    cli.main(["--statsd.max-series-per-name=2", "explain", *lines])
    assert capsys.readouterr().out.count("refused, quota") == 2
    cli.main(["explain", *lines])
    assert "refused" not in capsys.readouterr().out


RULES = """
mappings:
- {match: app.*, name: app, labels: {route: $1}, ttl: 5s}
- {match: app.*.time, name: app_seconds, observer_type: histogram, labels: {a: $1}}
"""
ONE = "quotas: [{match: '*', max_series: 1}]"
TWO = "quotas: [{match: '*', max_series: 2}]"


def test_new_series_beyond_the_quota_are_refused(make_pipeline: MakePipeline) -> None:
    """Samples of existing series go on, whatever their labels and other names."""
    memory = InMemoryPath(RULES, make_pipeline=make_pipeline, quota_file=TWO)
    for _ in range(3):
        memory.feed(b"app.a:1|c\napp.b:1|c|#x:y\napp.c:1|c\napp.a:1|c|#x:y", b"b:1|g")
        memory.feed(b"c,x=1:1|s\nc,x=2:1|s\nc,x=3:1|s")

    assert memory.values() == {
        'app{route="a"}': 3,
        'app{route="b",x="y"}': 3,
        "b": 1,
        'c{x="1"}': 1,
        'c{x="2"}': 1,
    }
    assert memory.stats.series_refused == {("quota", "app"): 6, ("quota", "c"): 3}
    assert (b"app.c:1|c", "quota") in dict(memory.plain.failed_lines.newest_first())


def test_expiry_makes_room(make_pipeline: MakePipeline) -> None:
    """As soon as a series is removed, a new one can take its place."""
    memory = InMemoryPath(RULES, make_pipeline=make_pipeline, quota_file=TWO)
    memory.feed(b"app.a:1|c\napp.b:1|c\napp.c:1|c")
    memory.pass_seconds(4)
    memory.feed(b"app.a:1|c")
    memory.pass_seconds(4)
    memory.feed(b"app.c:1|c\napp.d:1|c")

    assert memory.values() == {'app{route="a"}': 2, 'app{route="c"}': 1}
    assert memory.stats.series_refused == {("quota", "app"): 2}


def test_other_quotas_hold_from_the_next_new_series_on(
    make_pipeline: MakePipeline,
) -> None:
    """A lower one removes nothing, and a higher one admits again."""
    memory = InMemoryPath(make_pipeline=make_pipeline)
    memory.feed(b"a,x=1:1|c\na,x=2:1|c\na,x=3:1|c")
    memory.store.quotas.replace(quota_table(ONE))
    memory.feed(b"a,x=1:1|c\na,x=2:1|c\na,x=3:1|c\na,x=4:1|c")
    assert memory.values() == {f'a{{x="{i}"}}': 2 for i in (1, 2, 3)}
    memory.store.quotas.replace(quota_table("quotas: [{match: a, max_series: 4}]"))
    memory.feed(b"a,x=4:1|c\na,x=5:1|c")
    memory.store.quotas.replace(quota_table(""))
    memory.feed(b"a,x=6:1|c")

    assert {*memory.values()} == {f'a{{x="{i}"}}' for i in (1, 2, 3, 4, 6)}
    assert memory.stats.series_refused == {("quota", "a"): 2}


def test_a_flood_of_labels_is_the_same_on_both_paths() -> None:
    """A name with more series than its quota, beside names without one."""
    plain, fast = [
        InMemoryPath(
            RULES,
            make_pipeline=each,
            quota_file="quotas: [{match: app*, max_series: 100}]",
        )
        for each in BOTH_PATHS
    ]
    lines = [
        line
        for i in range(500)
        for line in (
            b"app.%d:1|c" % i,
            b"app.%d.time:1|ms" % (i % 120),
            b"t:1|g|#id:%d" % i,
        )
    ]
    for memory in (plain, fast):
        memory.feed(b"\n".join(lines))
        memory.feed(b"\n".join(lines[::-1]))

    assert_same_results(fast, plain)
    assert fast.stats.series_refused == {
        ("quota", "app"): 800,
        ("quota", "app_seconds"): 160,
    }
