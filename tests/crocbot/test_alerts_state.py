"""When alerts fire and end, and what each way is told of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot.alerts.conditions import Conditions, Counts
from crocbot.alerts.events import AlertEvents
from crocbot.alerts.messages import body_of, text_of
from crocbot.alerts.state import AlertState, Notice, NoticeKind, Notices, Told
from crocbot.alerts.table import ALERTS, AlertName
from crocbot.events import NO_EVENTS, AgentCall, DiskSpace, Event, PollFailed
from crocbot.model import ReconnectReason
from crocbot.turn_outcomes import AgentErrorReason
from tests.crocbot.fakes import Clock

NAME = AlertName.DEAF
GIB = 1 << 30


def kinds(notices: Notices, now: float) -> list[NoticeKind]:
    """Return what is due, and send it."""
    due = list(notices.due(now))
    for notice in due:
        notices.sent(notice)
    return [notice.kind for notice in due]


@given(
    holds=st.lists(st.booleans(), max_size=60),
    works=st.lists(st.booleans(), min_size=60, max_size=60),
    after=st.integers(0, 5),
    clear=st.integers(0, 5),
)
def test_what_an_operator_reads(
    holds: list[bool], works: list[bool], after: int, clear: int
) -> None:
    """
    Whatever a condition and a way do: an alert is told once before its end.

    It fires only after it held long enough; at the end the way knows how it is.
    """
    state = AlertState(after_seconds=after, clear_seconds=clear)
    notices = Notices(repeat_seconds=1000)
    read: list[NoticeKind] = []
    run = 0
    for now, (held, working) in enumerate(zip(holds, works, strict=False)):
        run = run + 1 if held else 0
        was_firing = state.is_firing
        state.update(now, "" if held else None)
        if state.is_firing and not was_firing:
            assert run > after
        notices.update(NAME, state, now)
        if working:
            read += kinds(notices, now)
    notices.update(NAME, state, len(holds))
    read += kinds(notices, len(holds))

    for one, other in pairwise(read):
        assert (one, other) != (NoticeKind.FIRING, NoticeKind.FIRING)
    assert NoticeKind.REPEATED not in read
    assert (read[-1:] == [NoticeKind.FIRING]) is state.is_firing
    assert list(notices.due(len(holds))) == []


def test_it_is_repeated() -> None:
    """While it fires it is told again after a while, and its end once."""
    state = AlertState(after_seconds=0, clear_seconds=10)
    notices = Notices(repeat_seconds=100)
    read = {}
    for now in range(250):
        state.update(now, "" if now < 230 else None)
        notices.update(NAME, state, now)
        if found := kinds(notices, now):
            read[now] = found
    assert read == {
        0: [NoticeKind.FIRING],
        100: [NoticeKind.REPEATED],
        200: [NoticeKind.REPEATED],
        239: [NoticeKind.OVER],
    }


class Fine:
    """A gateway without errors."""

    def telegram_error(self) -> str | None:
        return None

    def inbox_error(self) -> str | None:
        return None


def watched(clock: Clock) -> tuple[AlertEvents, Conditions]:
    """Return a gateway without errors."""
    events = AlertEvents(NO_EVENTS, clock)
    return events, Conditions(events=events, state=Fine())


def firing(
    conditions: Conditions, before: set[AlertName] | None = None
) -> set[AlertName]:
    """Return the alerts whose condition holds."""
    found = conditions.check(Counts(), before or set())
    return {name for name, value in found.items() if value is not None}


def test_counts_within_a_time() -> None:
    """Two conflicts are none too many; a third within ten minutes is."""
    clock = Clock()
    events, conditions = watched(clock)
    conflict = PollFailed(ReconnectReason.CONFLICT)
    for _ in range(2):
        events.emit(conflict)
    events.emit(PollFailed(ReconnectReason.NETWORK))
    clock.now += 601
    events.emit(conflict)
    assert firing(conditions) == set()
    for _ in range(2):
        events.emit(conflict)
    assert firing(conditions) == {AlertName.SECOND_POLLER}
    clock.now += 60
    assert firing(conditions, {AlertName.SECOND_POLLER}) == set()
    events.emit(conflict)
    assert firing(conditions, {AlertName.SECOND_POLLER}) == {AlertName.SECOND_POLLER}


@pytest.mark.parametrize(
    ("name", "event"),
    [
        (AlertName.SECOND_POLLER, PollFailed(ReconnectReason.CONFLICT)),
        (
            AlertName.AGENT_ERRORS,
            AgentCall(seconds=1.0, error=AgentErrorReason.TIMEOUT),
        ),
    ],
)
def test_an_alert_that_is_over(name: AlertName, event: Event) -> None:
    """The events that it told of do not let it fire again; as many new ones do."""
    clock = Clock()
    events, conditions = watched(clock)
    state = AlertState(after_seconds=0.0, clear_seconds=300.0)
    fired: list[bool] = []

    def look() -> bool:
        found = conditions.check(Counts(), {name} if state.is_firing else set())
        state.update(clock.now, found[name])
        return state.is_firing

    for _ in range(3):
        events.emit(event)
    for _ in range(1200):
        fired.append(look())
        clock.now += 1.0
    assert fired == sorted(fired, reverse=True)
    assert 300 <= fired.count(True) < 310
    for expected in (False, False, True):
        events.emit(event)
        assert look() is expected


def test_few_failed_prompts() -> None:
    """One in five may fail."""
    events, conditions = watched(Clock())
    failed = AgentCall(seconds=1.0, error=AgentErrorReason.TIMEOUT)
    for _ in range(20):
        events.emit(AgentCall(seconds=1.0))
    for _ in range(5):
        events.emit(failed)
    assert firing(conditions) == set()
    events.emit(failed)
    assert firing(conditions) == {AlertName.AGENT_ERRORS}


def test_the_disk() -> None:
    """A large disk may have little free in percent, a small one in bytes."""
    events, conditions = watched(Clock())
    for free, size, full in (
        (0.9 * GIB, 20 * GIB, True),
        (1.1 * GIB, 20 * GIB, False),
        (0.5 * GIB, 2 * GIB, False),
        (0.1 * GIB, 2 * GIB, True),
    ):
        events.emit(DiskSpace(free=int(free), size=size))
        assert (AlertName.DISK_NEARLY_FULL in firing(conditions)) is full
    events.emit(DiskSpace(free=int(1.1 * GIB), size=20 * GIB))
    assert firing(conditions, {AlertName.DISK_NEARLY_FULL})


def test_texts() -> None:
    """Each alert has a text and a body with its page, whatever the value is."""
    for name, alert in ALERTS.items():
        notice = Notice(
            name=name, kind=NoticeKind.FIRING, value="{x}", since=0.0, now=90.0
        )
        text = text_of(notice, "https://example.org/")
        assert text.endswith(f"https://example.org/{alert.runbook}")
        assert "{value}" not in text
        body = body_of(notice, bot="1", runbooks=None, wall_offset=60.0)
        assert body["alerts"][0]["startsAt"] == "1970-01-01T00:01:00Z"
        assert body["commonAnnotations"]["runbook"] == f"docs/runbooks/{alert.runbook}"


def test_what_is_known_when_it_is_over() -> None:
    """Without events no one knows whether something was repaired: the text says so."""
    texts = {}
    for name in (AlertName.AGENT_ERRORS, AlertName.SECOND_POLLER, AlertName.DEAF):
        notices = Notices(repeat_seconds=1000, clear_seconds=300)
        notices.told[name] = Told(since=0.0, at=0.0, ended=900.0)
        (notice,) = notices.due(900.0)
        texts[name] = text_of(notice, None).removeprefix(f"✅ {name} ")
    assert texts == {
        AlertName.AGENT_ERRORS: "is over, after 15 min: no such error for 5 min.",
        AlertName.SECOND_POLLER: "is over, after 15 min: no conflict for 5 min.",
        AlertName.DEAF: "is over, after 15 min.",
    }
