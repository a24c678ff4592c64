"""Trials of mapping files in a child process, one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail

from statsd_bridge.service import trials
from statsd_bridge.settings import Settings
from tests.statsd_bridge.in_memory import InMemoryPath, ReportedBugs
from tests.statsd_bridge.web_in_memory import InThisThread, Reactor

RULES = "mappings: [{match: a.*, name: a, labels: {b: $1}}]"


@pytest.fixture(autouse=True)
def _long_trials() -> Iterator[None]:
    """Let a child process start on a machine that is busy."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trials, "TRIAL_SECONDS", 300.0)
        yield


class Scene:
    """A bridge whose trials run in the thread of the test, unless others are given."""

    def __init__(self, threads: Any = None) -> None:
        self.reactor = Reactor()
        self.bugs = ReportedBugs()
        self.path = InMemoryPath(RULES)
        self.path.feed(b"a.x:1|c", b"a.y:1|c", b"other:1|g")
        components: Any = SimpleNamespace(
            reactor=self.reactor,
            pipeline=self.path.pipeline,
            plain=self.path.plain,
            settings=Settings(),
            bugs=self.bugs,
        )
        self.trials = trials.Trials(components, threads or InThisThread())

    def begin(self, text: str = RULES) -> list[trials.TrialAnswer]:
        """Begin a trial; return the list that its answer comes to."""
        answers: list[trials.TrialAnswer] = []
        self.trials.run(text.encode(), "new.yml").addCallback(answers.append)
        return answers

    def run(self, text: str = RULES) -> tuple[int, Any]:
        """Try a file; return the status and the document."""
        answers = self.begin(text)
        self.reactor.run_pending()
        ((status, document),) = answers
        return status, json.loads(document)


def test_what_was_seen_is_tried() -> None:
    """The child process knows the samples and what becomes of them now."""
    scene = Scene()
    status, document = scene.run()
    assert (status, document["clean"], document["names"]) == (200, True, 3)
    _, document = scene.run(RULES.replace("b: $1", "c: $1"))
    assert document["counts"] == {"labels": 2}
    _, document = scene.run("mappings: [{match: a}]")
    assert document["error"].startswith("new.yml: mappings[0].name: is missing")
    assert not scene.bugs


def test_one_at_a_time() -> None:
    """Another one gets status 503 until the first one is done."""

    class WaitingThreads:
        def run(self, *_: Any) -> Deferred[Any]:
            waiting.append(Deferred())
            return waiting[-1]

    waiting: list[Deferred[Any]] = []
    scene = Scene(WaitingThreads())
    first, second = scene.begin(), scene.begin()
    scene.reactor.run_pending()
    assert not first
    assert second[0].status == 503
    assert b"another mapping is being tried" in second[0].document
    waiting[0].callback(trials.TrialAnswer(200, b"{}"))
    assert first[0].status == 200
    scene.begin()
    scene.reactor.run_pending()
    assert len(waiting) == 2


def test_a_trial_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process is ended, and the answer says so."""
    monkeypatch.setattr(trials, "TRIAL_SECONDS", 0.0)
    monkeypatch.setattr(trials, "_CHILD", "import time; time.sleep(60)")
    status, document = Scene().run()
    assert status == 503
    assert "took more than 10 s" in document["error"]


def test_a_process_that_fails_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported, and the next trial can run."""
    monkeypatch.setattr(trials, "_CHILD", "raise SystemExit('no memory')")
    scene = Scene()
    status, document = scene.run()
    assert (status, document["error"]) == (503, trials.FAILED)
    assert "no memory" in str(scene.bugs[0])
    monkeypatch.undo()
    assert scene.run()[0] == 200


def test_no_thread_is_a_bug() -> None:
    """The system may refuse one."""

    class NoThreads:
        def run(self, *_: Any) -> Deferred[Any]:
            return fail(RuntimeError("no thread"))

    scene = Scene(NoThreads())
    assert scene.run()[0] == 503
    assert str(scene.bugs[0]) == "no thread"
