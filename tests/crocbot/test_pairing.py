"""Codes for strangers: one-time, bounded, and known to a running gateway at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from sqlite3 import Connection

import pytest

from crocbot import pairing, store
from crocbot.errors import OperatorError
from crocbot.pairing import ALPHABET, LENGTH, Pairings
from crocbot.store import Store

HOUR = 3600.0


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """An empty table of pairings."""
    with store.opened(tmp_path / "x.sqlite3", [pairing.SCHEMA]) as opened:
        yield opened


def test_a_code(connection: Connection) -> None:
    """A stranger gets a code, the operator approves it once, and he is let in."""
    code = pairing.offer(connection, 8, 0.0)

    assert code is not None
    assert len(code) == LENGTH
    assert set(code) <= set(ALPHABET)
    assert not pairing.is_paired(connection, 8)
    assert pairing.approve(connection, f" {code.lower()} ", 1.0) == 8
    assert pairing.is_paired(connection, 8)
    assert pairing.approve(connection, code, 2.0) is None
    assert not pairing.is_paired(connection, 9)


def test_codes_differ(connection: Connection) -> None:
    """Each stranger has a code of his own."""
    codes = {pairing.offer(connection, user, 0.0) for user in range(50)}

    assert len(codes) == 50


def test_a_code_is_told_three_times(connection: Connection) -> None:
    """Who goes on writing is told the same code, and then nothing until it expires."""
    told = [pairing.offer(connection, 8, float(now)) for now in range(5)]
    later = pairing.offer(connection, 8, HOUR + 1)

    assert told == [told[0]] * 3 + [None, None]
    assert later not in (None, told[0])


def test_a_code_expires(connection: Connection) -> None:
    """After an hour a code lets nobody in."""
    code = pairing.offer(connection, 8, 0.0)
    assert code is not None

    assert pairing.approve(connection, code, HOUR + 1) is None
    assert pairing.listed(connection, HOUR + 1) == []


def test_who_is_paired_is_offered_nothing(connection: Connection) -> None:
    """Somebody who is let in has no code any more."""
    code = pairing.offer(connection, 8, 0.0)
    assert code is not None
    pairing.approve(connection, code, 0.0)

    assert pairing.offer(connection, 8, 0.0) is None
    assert pairing.is_paired(connection, 8)


def test_pending_codes_are_bounded(connection: Connection) -> None:
    """With a hundred codes waiting nobody gets another one, until they expire."""
    codes = [pairing.offer(connection, user, 0.0) for user in range(101)]

    assert [code is None for code in codes] == [False] * 100 + [True]
    assert pairing.offer(connection, 500, HOUR + 1) is not None


def test_guesses_are_bounded(connection: Connection) -> None:
    """After five wrong codes none is approved for an hour, not even the right one."""
    code = pairing.offer(connection, 8, 10.0)
    assert code is not None
    for _ in range(5):
        assert pairing.approve(connection, "AAAAAAAA", 10.0) is None

    with pytest.raises(OperatorError, match="5 wrong codes"):
        pairing.approve(connection, code, 11.0)
    code = pairing.offer(connection, 8, HOUR + 11)
    assert code is not None
    assert pairing.approve(connection, code, HOUR + 12) == 8


def test_revoke(connection: Connection) -> None:
    """Who is revoked is a stranger again; who is unknown is told as such."""
    code = pairing.offer(connection, 8, 0.0)
    assert code is not None
    pairing.approve(connection, code, 0.0)

    assert pairing.revoke(connection, 8)
    assert not pairing.is_paired(connection, 8)
    assert not pairing.revoke(connection, 8)


def test_the_list(connection: Connection) -> None:
    """The operator sees who waits with which code, and who is let in."""
    first = pairing.offer(connection, 8, 0.0)
    second = pairing.offer(connection, 9, 60.0)
    assert first is not None
    pairing.approve(connection, first, 120.0)
    lines = [pairing.describe(one, 120.0) for one in pairing.listed(connection, 120.0)]

    assert lines == [
        f"user 9  waits with code {second}, 60 min left",
        "user 8  let in since 1970-01-01 00:02 UTC",
    ]


def test_a_running_gateway_knows_at_once(tmp_path: Path) -> None:
    """What a command approves or revokes holds for the next message."""
    file = tmp_path / "x.sqlite3"

    async def scene() -> None:
        async with Store(file, [pairing.SCHEMA]) as opened:
            pairings = Pairings(opened)
            code = await pairings.offer(8)
            assert code is not None
            assert not await pairings.is_paired(8)
            with store.opened(file, [pairing.SCHEMA]) as connection:
                pairing.approve(connection, code, pairing.time.time())
            assert await pairings.is_paired(8)
            with store.opened(file, [pairing.SCHEMA]) as connection:
                pairing.revoke(connection, 8)
            assert not await pairings.is_paired(8)

    asyncio.run(scene())
