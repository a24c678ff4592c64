"""What may be counted, and that the counts are exact."""

from __future__ import annotations

import math
from decimal import Decimal
from random import Random
from typing import NoReturn

from hypothesis import given
from hypothesis import strategies as st

from crocbot.telemetry.instruments import (
    LARGEST,
    RESERVOIR,
    Counter,
    Gauge,
    Timer,
    rate,
    weights,
)


class Hostile(float):
    """Looks like a number, and raises whatever is done with it."""

    def _refuse(self, *_: object) -> NoReturn:
        raise RuntimeError

    __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __float__ = _refuse


NO_NUMBERS = st.one_of(
    st.none(),
    st.text(),
    st.binary(),
    st.booleans(),
    st.complex_numbers(),
    st.lists(st.integers()),
    st.sampled_from([math.nan, math.inf, -math.inf, Decimal(1), Hostile(), object]),
    st.integers(min_value=LARGEST + 1),
    st.integers(max_value=-LARGEST - 1),
    st.floats(min_value=LARGEST * 2),
)
NUMBERS = st.one_of(
    st.integers(-LARGEST, LARGEST), st.floats(-float(LARGEST), float(LARGEST))
)


@given(NO_NUMBERS)
def test_no_number_is_refused_and_counted_by_every_handle(value: object) -> None:
    """What is no finite number of a sensible size changes nothing, and is counted."""
    invalid = Counter("invalid")
    counter = Counter("counter", invalid)
    gauge = Gauge("gauge", invalid)
    timer = Timer("timer", invalid, Random(1))

    counter.inc(value)  # type: ignore[arg-type]
    gauge.set(value)  # type: ignore[arg-type]
    timer.observe(value)  # type: ignore[arg-type]

    assert (counter.pending, gauge.value, timer.count) == (0, None, 0)
    assert invalid.take() == 3


@given(st.lists(NUMBERS))
def test_a_counter_adds_or_refuses(amounts: list[float]) -> None:
    """Each amount is added, or counted as refused when the sum would fall or burst."""
    invalid = Counter("invalid")
    counter = Counter("counter", invalid)
    total, refused = 0.0, 0
    for amount in amounts:
        if 0 <= amount <= LARGEST - total:
            total += amount
        else:
            refused += 1
        counter.inc(amount)

    assert (counter.pending, invalid.pending) == (total, refused)
    assert 0 <= counter.pending <= LARGEST


def test_a_counter_adds_and_starts_again() -> None:
    """What was taken is not there a second time."""
    counter = Counter("counter")
    counter.inc()
    counter.inc(2)

    assert (counter.take(), counter.take()) == (3, 0)


def test_a_counter_refuses_to_fall() -> None:
    """A negative amount is refused and counted."""
    invalid = Counter("invalid")
    counter = Counter("counter", invalid)
    counter.inc(-1)

    assert (counter.pending, invalid.pending) == (0, 1)


@given(NUMBERS)
def test_a_gauge_holds_the_last_number(value: float) -> None:
    """A gauge has the value that was set, and no negative zero."""
    gauge = Gauge("gauge", Counter("invalid"))
    gauge.set(value)

    assert gauge.value == value
    assert str(gauge.value) != "-0.0"


def test_a_gauge_knows_whether_it_changed() -> None:
    """The same value again is no change; the first one is."""
    gauge = Gauge("gauge", Counter("invalid"))
    changes = []
    for value in (0, 0, 5):
        gauge.set(value)
        changes.append(gauge.changed)
        gauge.changed = False

    assert changes == [True, False, True]


def test_a_negative_duration_counts_as_none() -> None:
    """A clock that was set back makes an observation of 0, not a hole in the count."""
    timer = Timer("timer", Counter("invalid"), Random(1))
    timer.observe(-3.5)

    assert timer.take() == [(0, 1)]


@given(count=st.integers(0, 20_000), seed=st.integers(0, 5))
def test_a_timer_keeps_few_and_loses_no_count(count: int, seed: int) -> None:
    """At most 512 values are kept; their weights add up to what was observed."""
    timer = Timer("timer", Counter("invalid"), Random(seed))
    for i in range(count):
        timer.observe(i)
    taken = timer.take()

    assert len(taken) == min(count, RESERVOIR)
    assert sum(weight for _, weight in taken) == count
    assert len({value for value, _ in taken}) == len(taken)
    assert (timer.count, timer.take()) == (0, [])


def test_a_timer_keeps_a_fair_sample() -> None:
    """The mean of what is kept is near the mean of all."""
    timer = Timer("timer", Counter("invalid"), Random(7))
    for i in range(50_000):
        timer.observe(i)
    kept = [value for value, _ in timer.take()]

    # Five standard deviations of the mean of 512 out of a uniform 50,000.
    assert abs(sum(kept) / len(kept) - 25_000) < 5 * 50_000 / math.sqrt(12 * 512)


@given(count=st.integers(1, 10**12), kept=st.integers(1, RESERVOIR))
def test_weights_are_even_integers_that_add_up(count: int, kept: int) -> None:
    """n observations are shared among k values without a rest."""
    kept = min(count, kept)
    shares = weights(count, kept)

    assert (len(shares), sum(shares)) == (kept, count)
    assert min(shares) >= 1
    assert max(shares) - min(shares) <= 1


def test_nothing_has_no_weights() -> None:
    """Without observations there is nothing to share."""
    assert weights(0, 0) == []


@given(st.integers(1, 2**50))
def test_a_rate_is_counted_as_its_weight(weight: int) -> None:
    """Cut off as receivers do it, the rate's text gives the weight back."""
    assert int(1 / float(rate(weight))) == weight


def test_every_weight_that_really_occurs_survives() -> None:
    """Not one of the small weights comes back as another."""
    wrong = [w for w in range(1, 10_000) if int(1 / float(rate(w))) != w]

    assert wrong == []


def test_the_plain_rate_would_not_do() -> None:
    """The reason for the detour: 1/93 is counted as 92."""
    assert int(1 / float(repr(1 / 93))) == 92
