"""Which numbers are recorded, and that counts are exact."""

from __future__ import annotations

import math
from decimal import Decimal
from random import Random
from typing import NoReturn

from hypothesis import given
from hypothesis import strategies as st

from crocbot.model import MessageType
from crocbot.telemetry import catalogue
from crocbot.telemetry.instruments import (
    MAX_NUMBER,
    MAX_OBSERVATIONS,
    Counter,
    Gauge,
    Timer,
    weights,
)


class Hostile(float):
    """A float that raises in every operation."""

    def _refuse(self, *_: object) -> NoReturn:
        raise RuntimeError

    __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __float__ = _refuse


INVALID = st.one_of(
    *(st.none(), st.text(), st.binary(), st.booleans(), st.complex_numbers()),
    st.lists(st.integers()),
    st.sampled_from([math.nan, math.inf, -math.inf, Decimal(1), Hostile(), object]),
    st.integers(min_value=MAX_NUMBER + 1),
    st.integers(max_value=-MAX_NUMBER - 1),
    st.floats(min_value=MAX_NUMBER * 2),
)
NUMBERS = st.one_of(
    st.integers(-MAX_NUMBER, MAX_NUMBER),
    st.floats(-float(MAX_NUMBER), float(MAX_NUMBER)),
)


@given(INVALID)
def test_an_invalid_value_is_left_out_and_counted(value: object) -> None:
    """What is no finite number of a sensible size changes no instrument."""
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
def test_a_counter_never_falls(amounts: list[float]) -> None:
    """An amount is added once, or counted as invalid if negative or too large."""
    invalid = Counter("invalid")
    counter = Counter("counter", invalid)
    total, refused = 0.0, 0
    for amount in amounts:
        if 0 <= amount <= MAX_NUMBER - total:
            total += amount
        else:
            refused += 1
        counter.inc(amount)

    assert (counter.take(), counter.take()) == (total, 0)
    assert invalid.pending == refused


@given(NUMBERS)
def test_a_gauge_holds_the_last_number(value: float) -> None:
    """A gauge has the value that was set, and no negative zero."""
    gauge = Gauge("gauge", Counter("invalid"))
    gauge.set(value)

    assert gauge.value == value
    assert str(gauge.value) != "-0.0"


def test_a_gauge_that_was_cleared_has_no_value() -> None:
    """A gauge whose value is not known any more is not sent until it is set again."""
    gauge = Gauge("gauge", Counter("invalid"))
    gauge.set(7)
    gauge.clear()
    assert (gauge.value, gauge.changed) == (None, False)
    gauge.set(7)
    assert (gauge.value, gauge.changed) == (7, True)


def test_a_gauge_knows_whether_it_changed() -> None:
    """The same value again is no change; the first one is."""
    gauge = Gauge("gauge", Counter("invalid"))
    changes = []
    for value in (0, 0, 5):
        gauge.set(value)
        changes.append(gauge.changed)
        gauge.changed = False

    assert changes == [True, False, True]


def test_a_negative_duration_counts_as_zero() -> None:
    """A clock that was set back makes an observation of 0, not a hole in the count."""
    timer = Timer("timer", Counter("invalid"), Random(1))
    timer.observe(-3.5)

    assert timer.take() == [(0, 1)]


@given(count=st.integers(0, 20_000), seed=st.integers(0, 5))
def test_a_timer_keeps_few_observations_and_counts_all(count: int, seed: int) -> None:
    """At most 512 values are kept; their weights add up to the observations."""
    timer = Timer("timer", Counter("invalid"), Random(seed))
    for i in range(count):
        timer.observe(i)
    taken = timer.take()

    assert len(taken) == min(count, MAX_OBSERVATIONS)
    assert sum(weight for _, weight in taken) == count
    assert len({value for value, _ in taken}) == len(taken)
    assert (timer.count, timer.take()) == (0, [])


def test_a_timer_keeps_a_fair_sample() -> None:
    """The mean of the kept values is near the mean of all."""
    timer = Timer("timer", Counter("invalid"), Random(7))
    for i in range(50_000):
        timer.observe(i)
    kept = [value for value, _ in timer.take()]

    # Five standard deviations of the mean of 512 out of a uniform 50,000.
    assert abs(sum(kept) / len(kept) - 25_000) < 5 * 50_000 / math.sqrt(12 * 512)


@given(count=st.integers(0, 10**12), kept=st.integers(1, MAX_OBSERVATIONS))
def test_weights_are_even_integers_that_add_up(count: int, kept: int) -> None:
    """n observations are shared among k values without a remainder."""
    kept = min(count, kept)
    shares = weights(count, kept)

    assert (len(shares), sum(shares)) == (kept, count)
    assert min(shares, default=1) >= 1
    assert max(shares, default=0) - min(shares, default=0) <= 1


def test_instruments_are_made_once_for_all_rows() -> None:
    """Each row has its counters from the start; asking again gives the same one."""
    instruments = catalogue.instruments()
    names = {counter.name for counter in instruments.counters}
    counter, timer = instruments.counter, instruments.timer

    assert "crocbot.errors.agent.critical" in names
    assert counter(catalogue.MESSAGES, MessageType.TEXT) is counter(
        catalogue.MESSAGES, "text"
    )
    assert timer(catalogue.LATENCY, "text") is timer(catalogue.LATENCY, "text")
    assert instruments.gauge(catalogue.UPTIME) is instruments.gauge(catalogue.UPTIME)
    assert {counter.name for counter in instruments.counters} == names
