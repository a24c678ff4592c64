"""Pairing codes: one-time, bounded, and seen by a running gateway at once."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from crocbot import pairing
from crocbot.errors import OperatorError
from crocbot.pairing import CODE_ALPHABET, CODE_LENGTH, CODE_VALID_SECONDS, Pairings
from crocbot.store import Connection
from tests.crocbot.databases import Database

LATER = CODE_VALID_SECONDS + 1


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """Return an empty table of pairings."""
    with database.opened([pairing.SCHEMA]) as opened:
        yield opened


def offered(connection: Connection, user: int, now: float = 0.0) -> str:
    """Return the code that a sender gets."""
    code = pairing.offer(connection, user, now)
    assert code is not None
    return code


def test_approve_and_revoke(connection: Connection) -> None:
    """A code gives its sender access once, until they are revoked."""
    code = offered(connection, 8)

    assert (len(code), set(code) - set(CODE_ALPHABET)) == (CODE_LENGTH, set())
    assert not pairing.is_paired(connection, 8)
    assert pairing.approve(connection, f" {code.lower()} ", 1.0, 1.0) == 8
    assert pairing.is_paired(connection, 8)
    assert pairing.offer(connection, 8, 1.0) is None
    assert pairing.approve(connection, code, 2.0, 2.0) is None
    assert not pairing.is_paired(connection, 9)
    assert pairing.revoke(connection, 8)
    assert not pairing.is_paired(connection, 8)
    assert not pairing.revoke(connection, 8)


def test_a_code_is_sent_three_times(connection: Connection) -> None:
    """A sender gets the same code three times, and another one after it expired."""
    codes = [pairing.offer(connection, 8, float(now)) for now in range(5)]

    assert codes == [codes[0]] * 3 + [None, None]
    assert pairing.offer(connection, 8, LATER) not in (None, codes[0])


def test_a_code_expires(connection: Connection) -> None:
    """A code that is too old is not approved, and not listed."""
    code = offered(connection, 8)

    assert pairing.approve(connection, code, LATER, LATER) is None
    assert pairing.listed(connection, LATER) == []


def test_pending_codes_are_bounded(connection: Connection) -> None:
    """A hundred senders have a code each, another one gets none until they expire."""
    codes = {pairing.offer(connection, user, 0.0) for user in range(100)}

    assert len(codes - {None}) == 100
    assert pairing.offer(connection, 100, 0.0) is None
    assert pairing.offer(connection, 500, LATER) is not None


def test_guesses_are_bounded(connection: Connection) -> None:
    """After five wrong codes none is approved for an hour, not even the right one."""
    code = offered(connection, 8, 10.0)
    for _ in range(5):
        assert pairing.approve(connection, "AAAAAAAA", 10.0, 10.0) is None

    with pytest.raises(OperatorError, match="5 wrong codes"):
        pairing.approve(connection, code, 11.0, 11.0)
    code = offered(connection, 8, LATER + 10)
    assert pairing.approve(connection, code, LATER + 11, LATER + 11) == 8


def test_the_list(connection: Connection) -> None:
    """The operator sees the pending codes, and who is approved."""
    first, second = offered(connection, 8), offered(connection, 9, 60.0)
    pairing.approve(connection, first, 120.0, 120.0)
    lines = [pairing.describe(one, 120.0) for one in pairing.listed(connection, 120.0)]

    assert lines == [
        f"user 9  pending, code {second}, 60 min left",
        "user 8  approved 1970-01-01 00:02 UTC",
    ]


async def test_a_running_gateway_sees_changes_at_once(database: Database) -> None:
    """What a command approves or revokes holds for the next message."""
    async with database.store([pairing.SCHEMA]) as opened:
        pairings = Pairings(opened)
        code = await pairings.offer(8)
        assert code is not None
        assert not await pairings.is_paired(8)
        with database.opened([pairing.SCHEMA]) as connection:
            pairing.approve(connection, code, time.time(), 0.0)
            # A reader does not wait for a command that writes.
            assert not await pairings.is_paired(8)
        assert await pairings.is_paired(8)
        with database.opened([pairing.SCHEMA]) as connection:
            pairing.revoke(connection, 8)
        assert not await pairings.is_paired(8)
