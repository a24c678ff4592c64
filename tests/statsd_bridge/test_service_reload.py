"""Reloads: the file is read beside the reactor, once for all requests that wait."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred

from statsd_bridge import mapping
from statsd_bridge.document import pace
from statsd_bridge.model import SampleType
from statsd_bridge.quotas import QuotaTable
from statsd_bridge.service.reload import PACE_SECONDS, Reloader, Tables
from statsd_bridge.settings import Settings
from tests.statsd_bridge.in_memory import InMemoryPath, ReportedBugs


class ManualThreads:
    """Threads whose calls are made when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[..., Any], tuple[Any, ...], Deferred[Any]]]
        self.waiting = []

    def run(self, function: Any, *args: Any) -> Deferred[Any]:
        """Keep a call."""
        result: Deferred[Any] = Deferred()
        self.waiting.append((function, args, result))
        return result

    def make_call(self) -> None:
        """Make the call that waits the longest."""
        function, args, result = self.waiting.pop(0)
        maybeDeferred(function, *args).chainDeferred(result)


class Rules:
    """A mapping file, a quota file, the path that they belong to, and its reloader."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.write("old")
        self.quota_file = file.with_name("quotas.yml")
        self.quota_file.write_text("")
        self.bugs = ReportedBugs()
        self.threads = ManualThreads()
        table = mapping.load(str(file))
        self.memory = InMemoryPath(table, bugs=self.bugs)
        self.reloads = self.memory.stats.config_reloads
        self.reloader = Reloader(
            Settings(mapping_config=str(file), quota_config=str(self.quota_file)),
            tables=Tables(table, QuotaTable()),
            pipeline=self.memory.pipeline,
            store=self.memory.store,
            stats=self.memory.stats,
            bugs=self.bugs,
            threads=self.threads,
        )

    def write(self, name: str) -> None:
        """Map `a` to a name."""
        self.file.write_text(f"mappings: [{{match: a, name: {name}}}]")

    def reload(self) -> list[str]:
        """Request a reload; return a list that gets its answer."""
        answers: list[str] = []
        self.reloader.reload().addCallback(answers.append)
        return answers

    def name(self) -> str:
        """Return the name that `a` is mapped to."""
        return self.memory.plain.table.look_up(SampleType.COUNTER, "a").untagged.name


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    """Rules that are in force."""
    return Rules(tmp_path / "rules.yml")


def test_requests_that_wait_share_one_reading(rules: Rules) -> None:
    """Five requests are two readings: one that runs, and one for all that wait."""
    rules.write("first")
    answers = [rules.reload() for _ in range(5)]
    assert len(rules.threads.waiting) == 1
    rules.threads.make_call()

    assert (rules.name(), answers) == ("first", [[""], [], [], [], []])
    rules.write("second")
    while rules.threads.waiting:
        rules.threads.make_call()
    assert (rules.name(), answers) == ("second", [[""]] * 5)
    assert rules.reloads == {"success": 2}


def test_lines_are_processed_by_the_old_rules_until_the_swap(rules: Rules) -> None:
    """Also those that waited in buffers."""
    rules.write("new")
    rules.reload()
    for _ in range(3):
        rules.memory.feed(b"a:1|c")
    rules.threads.make_call()
    for _ in range(3):
        rules.memory.feed(b"a:1|c")

    assert rules.memory.values() == {"old": 3, "new": 3}


def test_the_rules_of_a_replaced_table_are_freed_in_the_thread(rules: Rules) -> None:
    """One after the other, so that the reactor does not wait for it."""
    replaced = rules.memory.plain.table
    rules.write("new")
    rules.reload()
    rules.threads.make_call()
    assert len(replaced) == 1
    rules.threads.make_call()

    assert len(replaced) == 0
    assert rules.name() == "new"


def test_a_file_that_has_not_changed_is_not_swapped_in(rules: Rules) -> None:
    """The reload is a success, and caches and buffers stay."""
    table = rules.memory.plain.table
    answer = rules.reload()
    rules.threads.make_call()

    assert answer == [""]
    assert rules.memory.plain.table is table
    assert rules.reloads == {"success": 1}


def test_a_refused_file_leaves_the_rules(rules: Rules) -> None:
    """The answer is the reason; the next request reads the file again."""
    rules.file.write_text("mappings: 7")
    answer = rules.reload()
    rules.threads.make_call()
    assert rules.name() == "old"
    assert answer[0].startswith(f"{rules.file}: mappings")
    rules.write("new")
    rules.reload()
    rules.threads.make_call()

    assert rules.name() == "new"
    assert rules.reloads == {"success": 1, "failure": 1}
    assert rules.bugs == []


def test_one_refused_file_leaves_rules_and_quotas(rules: Rules) -> None:
    """Neither file comes into force without the other; later both do."""
    rules.write("new")
    rules.quota_file.write_text("quotas: [{match: 'a.*', max_series: 1}]")
    answer = rules.reload()
    rules.threads.make_call()
    for tag in (b"1", b"2"):
        rules.memory.feed(b"a:1|c|#x:" + tag)
    assert answer[0].startswith(f"{rules.quota_file}: quotas[0].match: 'a.*'")
    assert rules.memory.values() == {'old{x="1"}': 1, 'old{x="2"}': 1}
    rules.quota_file.write_text("quotas: [{match: '*', max_series: 1}]")
    rules.reload()
    rules.threads.make_call()
    for tag in (b"1", b"2"):
        rules.memory.feed(b"a:1|c|#x:" + tag)

    assert rules.memory.values() == {
        'old{x="1"}': 1,
        'old{x="2"}': 1,
        'new{x="1"}': 1,
    }
    assert rules.reloads == {"success": 1, "failure": 1}


def test_a_bug_refuses_the_file(rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported, and the requests are answered."""

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(mapping, "load", fail)
    answer = rules.reload()
    rules.threads.make_call()

    assert "RuntimeError" in answer[0]
    assert list(map(type, rules.bugs)) == [RuntimeError]
    assert rules.reloads == {"failure": 1}


def test_a_thread_that_the_system_refuses_is_no_end(
    rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is answered, and the next one reads the file."""

    def fail(*_: Any) -> None:
        raise RuntimeError

    rules.write("new")
    with monkeypatch.context() as patched:
        patched.setattr(rules.threads, "run", fail)
        answer = rules.reload()
    assert "RuntimeError" in answer[0]
    rules.reload()
    rules.threads.make_call()

    assert rules.name() == "new"


def test_without_a_file_there_is_nothing_to_reload(rules: Rules) -> None:
    """The answer is a success, like in statsd_exporter, and nothing is counted."""
    reloader = Reloader(
        Settings(),
        tables=Tables(mapping.load(""), QuotaTable()),
        pipeline=rules.memory.pipeline,
        store=rules.memory.store,
        stats=rules.memory.stats,
        bugs=rules.bugs,
        threads=rules.threads,
    )
    answers: list[str] = []
    reloader.reload().addCallback(answers.append)

    assert answers == [""]
    assert not rules.reloads


def test_a_reading_pauses_for_the_reactor(
    rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each piece of work if the clock has advanced; never at a start."""
    pauses: list[float] = []
    seconds = itertools.count()
    monkeypatch.setattr(pace, "time", FakeTime(pauses, seconds))
    mapping.load(str(rules.file))
    assert pauses == []
    rules.write("new")
    rules.reload()
    rules.threads.make_call()
    reading = len(pauses)
    rules.threads.make_call()

    assert reading > 10
    assert len(pauses) > reading
    assert {*pauses} == {PACE_SECONDS}


class FakeTime:
    """A clock that advances whenever it is read, and pauses that end at once."""

    def __init__(self, pauses: list[float], seconds: Iterator[int]) -> None:
        self.sleep = pauses.append
        self.monotonic = seconds.__next__
