"""Rendezvous hashing: shares, what moves, and that the scores never change."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.relay.rendezvous import Rendezvous, family_key

NAMES = [f"service_{number % 97}_request_{number}_seconds" for number in range(10_000)]
TARGETS = [f"10.0.0.{number}:9125" for number in range(1, 10)]
LOCAL = [f"127.0.0.1:{port}" for port in range(9225, 9234)]
VECTORS = {"api_hits": 0, "api_seconds": 0, "api_seconds_count": 0, "caf_": 0, "x": 2}
"""The index of the target with the highest score, of three."""


@pytest.mark.parametrize("targets", [TARGETS, LOCAL], ids=["hosts", "ports"])
@pytest.mark.parametrize("count", range(2, 9))
def test_shares_are_even(targets: list[str], count: int) -> None:
    """Each target has its share of 10,000 names within 10 %."""
    rendezvous = Rendezvous(targets[:count])
    shares = Counter(map(rendezvous.choose, NAMES))

    assert len(shares) == count
    for share in shares.values():
        assert share == pytest.approx(len(NAMES) / count, rel=0.1)


@pytest.mark.parametrize("count", range(1, 9))
def test_one_target_more_takes_its_share_and_nothing_else_moves(count: int) -> None:
    """1/(n + 1) of the names move, all of them to the new target."""
    before, after = Rendezvous(TARGETS[:count]), Rendezvous(TARGETS[: count + 1])
    moved = [name for name in NAMES if before.target_of(name) != after.target_of(name)]

    assert {after.choose(name) for name in moved} == {count}
    assert len(moved) == pytest.approx(len(NAMES) / (count + 1), rel=0.1)


@given(st.permutations(TARGETS), st.text())
def test_the_order_of_the_targets_decides_nothing(order: list[str], name: str) -> None:
    """Two sharding bridges with the same targets agree."""
    assert Rendezvous(order).target_of(name) == Rendezvous(TARGETS).target_of(name)


@given(st.text(), st.sets(st.integers(0, len(TARGETS) - 1)))
def test_only_the_share_of_a_gone_target_moves(name: str, gone: set[int]) -> None:
    """Unless all are gone: then each keeps its share."""
    rendezvous = Rendezvous(TARGETS)
    share, chosen = rendezvous.choose(name), rendezvous.choose(name, gone)

    if share not in gone or len(gone) == len(TARGETS):
        assert chosen == share
    else:
        assert chosen not in gone


def test_the_scores_are_those_of_every_version() -> None:
    """A change would move families: the documented hash, worked out by hand."""
    rendezvous = Rendezvous(["127.0.0.1:9225", "127.0.0.1:9226", "[::1]:9225"])
    chosen = {name: rendezvous.choose(name) for name in VECTORS}

    assert chosen == VECTORS


@pytest.mark.parametrize(
    ("names", "key"),
    [
        (["x", "x_count", "x_sum", "x_bucket", "x_total", "x_created"], "x"),
        (["x_count_count", "x_sum_bucket_total"], "x"),
        (["x_counter", "x_sums"], None),
        (["y" + "_sum" * 100_000], "y"),
        (["_count", ""], ""),
    ],
)
def test_names_that_a_page_has_together_have_one_key(
    names: list[str], key: str | None
) -> None:
    """The base of the name, without all of its suffixes."""
    assert [family_key(name) for name in names] == (
        names if key is None else [key] * len(names)
    )
