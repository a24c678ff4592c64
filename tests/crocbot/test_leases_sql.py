"""The statements of leases and rows, two sessions at a time, on a real PostgreSQL."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest

from crocbot import leases_sql
from crocbot.database_url import DatabaseUrl
from crocbot.inbox import places, postgresql
from crocbot.inbox.postgresql import Arrival, Begun, Closing, Found
from crocbot.leases_sql import Key, Looked
from crocbot.model import Disposition, Outcome, Row
from crocbot.store import upgrade
from tests.crocbot.database_sessions import Session, wait_for_lock

ANSWERED = Outcome(Disposition.ANSWERED)
BEGUN = Begun(paired=False, rich=False)
EXPIRE = "UPDATE chats SET until = now() - interval '1 second'"


class World:
    """A database and sessions of it."""

    def __init__(self, url: DatabaseUrl) -> None:
        self.url = url
        self.sessions: list[Session] = []
        self.first, self.second, self.observer = (self.connect() for _ in range(3))

    def connect(self) -> Session:
        """Return one session more."""
        self.sessions.append(Session(self.url))
        return self.sessions[-1]

    def accept(
        self, *arrivals: tuple[int, int], owner: str | None = "a", **options: Any
    ) -> Found:
        """Accept updates, each with its id and its chat, which the owner claims."""
        found = accept(self.first, *arrivals, owner=owner, **options)
        assert found is not None
        return found

    def key(self, chat: int) -> Key:
        """Return the lease of a chat, as the database has it."""
        found = self.observer.query(f"SELECT epoch FROM chats WHERE chat = {chat}")
        return chat, found[0][0]

    def close(self, update_id: int, key: Key, **options: Any) -> bool | None:
        """Close a row as answered."""
        return close(self.second, update_id, key, **options)

    def load(self, *keys: Key, after: int = 0, limit: int = 100) -> list[int]:
        """Return the ids of open rows of held chats."""
        found = postgresql.load(
            self.second.connection,
            keys,
            [after] * len(keys),
            [limit] * len(keys),
        )
        return [each.row.update_id for each in found.rows]

    def claim(self, owner: str = "b", limit: int = 10, **options: Any) -> list[Key]:
        """Claim chats, also those whose lease has ended."""
        options = {"time": time.time(), **options}
        found = leases_sql.claim(self.second.connection, owner, limit, **options)
        return [(each.chat, each.epoch) for each in found]

    @property
    def ledger(self) -> dict[str, int]:
        """Return the lines of the ledger that are not 0."""
        return dict(self.observer.query("SELECT * FROM ledger WHERE count != 0"))

    @property
    def chats(self) -> list[tuple[int, str | None, int]]:
        """Return the chats with their owners and versions."""
        return self.observer.query("SELECT chat, owner, version FROM chats ORDER BY 1")


def accept(
    session: Session,
    *arrivals: tuple[int, int],
    owner: str | None = "a",
    leader: int | None = None,
) -> Found | None:
    """Accept updates, each with its id and its chat, which the owner claims."""
    given = [Arrival({"update_id": each}, chat, bool(owner)) for each, chat in arrivals]
    return postgresql.accept(session.connection, given, owner or "z", leader)


def close(session: Session, update_id: int, key: Key, **options: Any) -> bool | None:
    """Close a row as answered."""
    closing = Closing(update_id=update_id, key=key, outcome=ANSWERED, **options)
    return postgresql.close_rows(session.connection, [closing])[update_id]


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """Return sessions of a new database."""
    url = DatabaseUrl.parse(database_url)
    upgrade(url)
    made = World(url)
    yield made
    for session in made.sessions:
        session.connection.close()


def test_new_rows_are_stored_with_the_lease_of_their_chat(world: World) -> None:
    """One statement stores rows, claims their chats, and counts duplicates."""
    found = world.accept((1, 7), (2, 8), (1, 7), (3, 7))
    assert [(each.row.update_id, each.chat) for each in found.rows] == [
        (1, 7),
        (2, 8),
        (3, 7),
    ]
    assert [each.seq for each in found.rows] == sorted(each.seq for each in found.rows)
    assert {each.chat: each.mine for each in found.chats} == {7: True, 8: True}
    assert world.ledger == {"accepted": 3, "duplicates": 1}
    assert world.chats == [(7, "a", 1), (8, "a", 1)]


def test_a_chat_that_is_not_claimed_waits(world: World) -> None:
    """A replica without capacity stores the row, and another one takes the chat."""
    found = world.accept((1, 7), owner=None)
    assert [each.mine for each in found.chats] == [False]
    assert world.chats == [(7, None, 1)]
    assert world.claim() == [world.key(7)]
    assert world.load(world.key(7)) == [1]


def test_a_chat_that_is_held_stays_with_its_holder(world: World) -> None:
    """The version tells the holder that rows came."""
    world.accept((1, 7))
    found = accept(world.second, (2, 7), owner="b")
    assert found is not None
    assert [(each.mine, each.version) for each in found.chats] == [(False, 2)]
    assert world.chats == [(7, "a", 2)]


def test_one_update_by_two_webhooks_at_once(world: World) -> None:
    """It becomes one row, and one duplicate."""
    world.first.run("BEGIN")
    world.accept((1, 7))
    other = world.second.start(lambda _: accept(world.second, (1, 7), owner="b"))
    wait_for_lock(world.observer)
    world.first.run("COMMIT")
    found = other.result()
    assert found is not None
    assert found.rows == ()
    assert world.ledger == {"accepted": 1, "duplicates": 1}


def test_the_order_of_rows_is_that_of_commits(world: World) -> None:
    """A row that was stored later has a higher place, whichever began first."""
    world.first.run("BEGIN")
    world.accept((1, 7))
    other = world.second.start(lambda _: accept(world.second, (2, 7), owner="b"))
    wait_for_lock(world.observer)
    world.accept((3, 7))
    world.first.run("COMMIT")
    other.result()
    found = world.observer.query("SELECT update_id FROM rows ORDER BY seq")
    assert [each for (each,) in found] == [1, 3, 2]


def test_what_is_known_when_a_turn_begins(world: World) -> None:
    """Whether the person of the chat is approved, and an answer may have been sent."""
    world.accept((1, 7), (2, 8))
    world.observer.query(
        "INSERT INTO pairings (user_id, asked, told, approved)"
        " VALUES (7, 0, 0, 0), (8, 0, 0, NULL) RETURNING 1"
    )
    keys = [world.key(7), world.key(8)]
    known = postgresql.begin(world.first.connection, keys, [1, 2])
    assert known == {7: Begun(paired=True, rich=False), 8: BEGUN}
    world.observer.query(
        "INSERT INTO classic_forms (update_id, chat_id, text, size, sent)"
        " VALUES (1, 7, '', 0, 0) RETURNING 1"
    )
    known = postgresql.begin(world.first.connection, keys[:1], [1])
    assert known == {7: Begun(paired=True, rich=True)}
    known = postgresql.begin(world.first.connection, keys[1:], [2])
    assert known == {8: BEGUN}


def look(session: Session, empty: dict[Key, int]) -> Looked:
    """Look what waits; give chats back that are empty as of a version."""
    return leases_sql.look(
        session.connection, list(empty), max_rows=9, max_chats=9, empty=empty
    )


def test_an_empty_chat_is_given_back_by_a_look(world: World) -> None:
    """Unless it has a row, has changed since, or is locked by another statement."""
    world.accept((1, 7), (2, 8), (3, 9), (4, 10))
    keys = [world.key(chat) for chat in (7, 8, 9, 10)]
    for update_id, key in ((1, keys[0]), (3, keys[2]), (4, keys[3])):
        assert world.close(update_id, key)
    accept(world.second, (5, 9), owner="b")
    world.first.run("BEGIN")
    leases_sql.touch(world.first.connection, [10])
    found = look(world.second, dict.fromkeys(keys, 1))
    world.first.run("COMMIT")

    assert found.gone == {keys[0]}
    assert sorted((each.chat, each.version) for each in found.chats) == [
        (7, 1),
        (8, 1),
        (9, 2),
        (10, 1),
    ]
    assert [chat for chat, _, _ in world.chats] == [8, 9, 10]
    assert look(world.second, {keys[0]: 1}).chats == []


def test_a_release_sees_a_row_that_is_being_stored(world: World) -> None:
    """A chat in which a row is stored meanwhile is not given back."""
    world.accept((1, 7))
    key = world.key(7)
    assert world.close(1, key)
    world.first.run("BEGIN")
    accept(world.first, (2, 7), owner="b")
    releasing = world.second.start(
        lambda connection: leases_sql.release(connection, [key], [1])
    )
    wait_for_lock(world.observer)
    world.first.run("COMMIT")
    assert [(each.gone, each.version) for each in releasing.result()] == [(False, 2)]
    assert world.load(key) == [2]


@pytest.mark.parametrize("by", ["release", "look"])
def test_a_row_for_a_chat_that_is_being_released(world: World, by: str) -> None:
    """Its chat begins anew, with a lease of the replica that stores it."""
    world.accept((1, 7))
    key = world.key(7)
    assert world.close(1, key)
    world.first.run("BEGIN")
    if by == "look":
        assert look(world.first, {key: 1}).gone == {key}
    else:
        assert leases_sql.release(world.first.connection, [key], [1])[0].gone
    storing = world.second.start(lambda _: accept(world.second, (2, 7), owner="b"))
    wait_for_lock(world.observer)
    world.first.run("COMMIT")
    found = storing.result()
    assert found is not None
    assert [(each.mine, each.version) for each in found.chats] == [(True, 1)]
    assert world.key(7)[1] > key[1]


def test_a_release_of_several_chats_pairs_versions(world: World) -> None:
    """Each chat is compared with its own version, in whatever order they are given."""
    world.accept((1, 7), (2, 8))
    accept(world.second, (3, 7), owner="b")
    keys = [world.key(8), world.key(7)]
    for update_id, key in ((1, keys[1]), (2, keys[0]), (3, keys[1])):
        assert world.close(update_id, key)
    released = leases_sql.release(world.first.connection, keys, [1, 2])
    assert sorted((each.chat, each.gone) for each in released) == [(7, True), (8, True)]


@pytest.mark.parametrize("first", ["claim", "close"])
def test_a_close_and_a_claim_of_an_expired_lease(world: World, first: str) -> None:
    """Whichever is first, the row is worked once, under one lease."""
    world.accept((1, 7))
    old = world.key(7)
    world.observer.query(f"{EXPIRE} RETURNING 1")
    world.first.run("BEGIN")
    if first == "claim":
        assert leases_sql.claim(world.first.connection, "b", 10, time=time.time())
        closing = world.second.start(lambda _: close(world.second, 1, old))
        wait_for_lock(world.observer)
        world.first.run("COMMIT")
        assert closing.result() is None
        assert world.load(world.key(7)) == [1]
    else:
        assert close(world.first, 1, old)
        # A chat whose row is locked is passed over, not waited for.
        assert world.claim() == []
        world.first.run("COMMIT")
        assert world.claim() == [world.key(7)]
        assert world.load(world.key(7)) == []


def test_a_lost_lease_changes_nothing(world: World) -> None:
    """Neither begin, close, renew, release, give_back nor load work with its epoch."""
    world.accept((1, 7))
    old = world.key(7)
    world.observer.query(f"{EXPIRE} RETURNING 1")
    assert world.claim() == [world.key(7)]
    connection = world.first.connection
    assert postgresql.begin(connection, [old], [1]) == {}
    assert close(world.first, 1, old) is None
    assert leases_sql.renew(connection, [old]) == ([], set())
    assert leases_sql.release(connection, [old], [1]) == []
    assert leases_sql.give_back(connection, [old]) == set()
    assert postgresql.load(connection, [old], [0], [10]) == Found()
    leases_sql.set_flood(connection, old, 60.0)
    found = world.observer.query("SELECT owner, flood_until FROM chats")
    assert found == [("b", None)]
    assert world.observer.query("SELECT disposition, trying FROM rows") == [(None, 0)]
    assert world.ledger == {"accepted": 1}


def test_a_lease_that_was_given_back_is_over(world: World) -> None:
    """Its epoch works no more, although no other replica has taken the chat."""
    world.accept((1, 7))
    old = world.key(7)
    connection = world.first.connection
    assert leases_sql.give_back(connection, [old]) == {7}
    assert leases_sql.renew(connection, [old]) == ([], set())
    assert close(world.first, 1, old) is None
    assert world.claim() == [world.key(7)]


def test_an_expired_lease_that_nobody_took_is_renewed(world: World) -> None:
    """A replica that was paused goes on if no other one has had the chat."""
    world.accept((1, 7))
    key = world.key(7)
    world.observer.query(f"{EXPIRE} RETURNING 1")
    found, locked = leases_sql.renew(world.first.connection, [key])
    assert ([each.epoch for each in found], locked) == ([key[1]], set())
    assert world.claim() == []


def test_a_slow_statement_keeps_no_other_lease_from_being_renewed(
    world: World,
) -> None:
    """The row that it has locked is passed over, and cannot be claimed meanwhile."""
    world.accept((1, 7), (2, 8), (3, 9))
    keys = [world.key(chat) for chat in (7, 8, 9)]
    world.observer.query(f"{EXPIRE} RETURNING 1")
    world.first.run("BEGIN")
    assert postgresql.begin(world.first.connection, keys[1:2], [2]) == {8: BEGUN}
    found, locked = leases_sql.renew(world.second.connection, keys)
    assert sorted((each.chat, each.epoch) for each in found) == keys
    assert locked == {keys[1]}
    assert world.claim() == []
    world.first.run("COMMIT")
    assert leases_sql.renew(world.second.connection, keys)[1] == set()
    assert world.claim() == []


def test_the_tries_of_a_row_count_crashes_only(world: World) -> None:
    """A turn whose owner did not give its chat back has crashed; others have not."""
    world.accept((1, 7), (2, 8), (3, 9))
    keys = [world.key(chat) for chat in (7, 8, 9)]
    assert postgresql.begin(world.first.connection, keys[:2], [1, 2]) == {
        7: BEGUN,
        8: BEGUN,
    }
    leases_sql.give_back(world.first.connection, keys[1:2])
    world.observer.query(f"{EXPIRE} WHERE owner IS NOT NULL RETURNING 1")
    assert world.claim(time=None) == [world.key(8)]
    assert len(world.claim()) == 2
    found = world.observer.query("SELECT tries, trying FROM rows ORDER BY update_id")
    assert found == [(1, 0), (0, 0), (0, 0)]


def test_claims_take_what_waits_longest(world: World) -> None:
    """At most as many as asked for, without those whose turn still runs here."""
    for update_id, chat in enumerate((9, 7, 8, 6)):
        world.accept((update_id, chat), owner=None)
    claimed = world.claim(limit=2, excluded=[7])
    assert [chat for chat, _ in claimed] == [9, 8]


def test_only_a_new_chat_has_version_1(world: World) -> None:
    """A replica that claimed a chat does not take it for one without earlier rows."""
    world.observer.query(
        "INSERT INTO chats (chat, waiting_since) VALUES (7, 0) RETURNING 1"
    )
    world.claim(owner="a")
    found = world.accept((1, 7))
    assert [(each.mine, each.version) for each in found.chats] == [(True, 2)]


@pytest.mark.parametrize(
    ("left", "step", "known", "taken"),
    [
        # The lease ends in `left` seconds; the server's clock was changed by `step`
        # seconds before it was renewed, of which the replica knows or not.
        (8.0, 0.0, True, False),
        (-1.0, 0.0, True, True),
        (8.0, 3600.0, False, False),
        (8.0, 3600.0, True, False),
        (8.0, -3600.0, False, False),
        (8.0, -3600.0, True, False),
        # Its owner has ended before the clock was put back.
        (3605.0, -3600.0, True, True),
    ],
)
def test_leases_and_changes_of_the_clock(
    world: World, left: float, step: float, known: bool, taken: bool
) -> None:
    """Only a lease that has ended by both clocks, or cannot end, is taken."""
    world.accept((1, 7))
    world.observer.query(
        f"UPDATE chats SET until = now() + interval '{left} s' RETURNING 1"
    )
    claimed = world.claim(time=time.time() - (0.0 if known else step))
    assert bool(claimed) is taken


def test_two_replicas_claim_different_chats(world: World) -> None:
    """A chat that is being claimed is passed over."""
    world.accept((1, 7), (2, 8), owner=None)
    world.first.run("BEGIN")
    assert len(leases_sql.claim(world.first.connection, "a", 1)) == 1
    assert len(world.claim(limit=5)) == 1
    world.first.run("COMMIT")
    assert sorted(owner for _, owner, _ in world.chats if owner) == ["a", "b"]


def test_only_the_newest_leader_stores_what_it_polled(world: World) -> None:
    """An older epoch stores nothing, and does not even touch the chat."""
    world.observer.query(
        "INSERT INTO leases VALUES ('leader', 'b', 5, now()) RETURNING 1"
    )
    assert accept(world.first, (1, 7), leader=4) is None
    assert (world.ledger, world.chats) == ({}, [])
    assert accept(world.first, (1, 7), leader=5) is not None


def test_a_leader_that_is_replaced_while_it_stores(world: World) -> None:
    """The statement waits for the new leader's, and then stores nothing."""
    world.observer.query(
        "INSERT INTO leases VALUES ('leader', 'a', 5, now()) RETURNING 1"
    )
    world.first.run("BEGIN")
    world.first.query("UPDATE leases SET owner = 'b', epoch = 6 RETURNING 1")
    storing = world.second.start(lambda _: accept(world.second, (1, 7), leader=5))
    wait_for_lock(world.observer)
    world.first.run("COMMIT")
    assert storing.result() is None


def test_a_close_that_may_have_been_written(world: World) -> None:
    """A second try counts a row that the first one closed, once in the ledger."""
    world.accept((1, 7))
    key = world.key(7)
    assert world.close(1, key) is True
    assert world.close(1, key) is False
    assert world.close(1, key, again=True) is True
    assert world.ledger == {"accepted": 1, "answered": 1}


def test_rows_are_loaded_in_order_and_in_part(world: World) -> None:
    """A bound for each chat, from the last row that is known."""
    world.accept((1, 7), (2, 8), (3, 7), (4, 7), (5, 8))
    keys = [world.key(7), world.key(8)]
    assert world.load(*keys, limit=2) == [1, 2, 3, 5]
    assert world.load(keys[0], after=3) == [4]


def test_an_edit_takes_the_place_of_its_message(world: World) -> None:
    """The closed row gives its place to the other one, and is counted once."""
    world.accept((1, 7), (2, 7), (3, 7))
    key = world.key(7)
    edit = Row(3, {"update_id": 3, "edited": 1}, 0.0)
    for again in (False, True):
        world.second.run("BEGIN")
        closing = Closing(
            update_id=1, key=key, outcome=Outcome(Disposition.IGNORED), again=again
        )
        assert places.replace_row(world.second.connection, closing, edit)
        world.second.run("COMMIT")
    found = postgresql.load(world.first.connection, [key], [0], [10])
    assert [each.row.raw for each in found.rows] == [edit.raw, {"update_id": 2}]
    assert world.ledger == {"accepted": 3, "ignored": 1}


def test_failed_rows_are_opened_again_at_the_end(world: World) -> None:
    """The holder of the chat has read the rows before them, and is told of a change."""
    world.accept((1, 7), (2, 7))
    key = world.key(7)
    failed = Closing(
        update_id=1, key=key, outcome=Outcome(Disposition.FAILED, reason="a\0b\ud800")
    )
    assert postgresql.close_rows(world.first.connection, [failed]) == {1: True}
    assert world.observer.query("SELECT reason FROM rows WHERE update_id = 1") == [
        ("a\ufffdb?",)
    ]
    assert places.reopen(world.first.connection, [1, 2, 99]) == 1
    ((_, owner, version),) = world.chats
    assert (owner, version > 1) == ("a", True)
    found = postgresql.load(world.first.connection, [key], [2], [10])
    assert [(each.row.update_id, each.row.retried) for each in found.rows] == [
        (1, True)
    ]
    assert world.ledger == {"accepted": 2}


def test_work_without_a_chat_is_found(world: World) -> None:
    """A row of `chats` that is missing is added, so that a replica claims it."""
    world.accept((1, 7))
    world.observer.query("DELETE FROM chats RETURNING 1")
    leases_sql.adopt(world.first.connection)
    leases_sql.adopt(world.first.connection)
    assert world.chats == [(7, None, 1)]


def test_a_chat_with_a_pushed_message_is_not_released(world: World) -> None:
    """Also after the chat has moved: it has its first id."""
    world.accept((1, 7))
    key = world.key(7)
    assert world.close(1, key)
    world.observer.query(
        "INSERT INTO pushed (chat_id, text, markdown, size, accepted)"
        " VALUES (-70, '', 0, 0, 0) RETURNING id"
    )
    world.observer.query("INSERT INTO moved_chats VALUES (7, -70) RETURNING 1")
    (released,) = leases_sql.release(world.first.connection, [key], [1])
    assert (released.gone, released.has_rows, released.has_pushed) == (
        False,
        False,
        True,
    )


def test_rows_of_a_moved_chat_have_its_first_id(world: World) -> None:
    """So they keep their order with those of the old id."""
    world.observer.query("INSERT INTO moved_chats VALUES (7, -70) RETURNING 1")
    found = world.accept((1, -70), (2, 7))
    assert [each.chat for each in found.rows] == [7, 7]


def test_the_backlog(world: World) -> None:
    """Open rows, free chats, and replicas with chats, up to a bound."""
    world.accept((1, 7), (2, 7))
    world.accept((3, 8), (4, 9), owner=None)
    found = leases_sql.look(
        world.first.connection, [world.key(7)], max_rows=3, max_chats=10
    )
    backlog, chats = found.backlog, found.chats
    assert abs(backlog.time - time.time()) < 60.0
    assert (backlog.rows, backlog.chats, backlog.owners) == (3, 2, 1)
    assert [(each.chat, each.version) for each in chats] == [(7, 1)]


def test_a_flood_wait_lives_with_its_chat(world: World) -> None:
    """The replica that takes the chat is told how long Telegram refuses messages."""
    world.accept((1, 7))
    leases_sql.set_flood(world.first.connection, world.key(7), 60.0)
    leases_sql.give_back(world.first.connection, [world.key(7)])
    (claimed,) = leases_sql.claim(world.second.connection, "b", 1)
    assert 50.0 < claimed.flood_seconds <= 60.0


def test_no_two_statements_wait_for_each_other(world: World) -> None:
    """Many sessions, chats in any order: every statement ends without a deadlock."""
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        chance, session, owner = random.Random(seed), world.connect(), f"r{seed}"
        try:
            for number in range(40):
                chats = [chance.randrange(8) for _ in range(5)]
                ids = [seed * 10_000 + number * 10 + each for each in range(5)]
                accept(session, *zip(ids, chats, strict=True), owner=owner)
                keys = [
                    (each.chat, each.epoch)
                    for each in leases_sql.claim(session.connection, owner, 3)
                ]
                keys += session.query(
                    f"SELECT chat, epoch FROM chats WHERE owner = '{owner}'"
                )
                found = postgresql.load(
                    session.connection, keys, [0] * len(keys), [5] * len(keys)
                )
                epochs = dict(keys)
                postgresql.close_rows(
                    session.connection,
                    [
                        Closing(
                            update_id=each.row.update_id,
                            key=(each.chat, epochs[each.chat]),
                            outcome=Outcome(chance.choice(list(Disposition))),
                        )
                        for each in found.rows
                    ],
                )
                leases_sql.renew(session.connection, keys)
                look(session, dict.fromkeys(keys, 1))
                chance.choice([leases_sql.give_back, leases_sql.renew])(
                    session.connection, keys
                )
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    ((deadlocks,),) = world.observer.query(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    assert deadlocks == 0
    ledger = world.ledger
    ((still_open,),) = world.observer.query(
        "SELECT count(*) FROM rows WHERE disposition IS NULL"
    )
    assert ledger.pop("accepted") == sum(ledger.values()) + still_open == 6 * 40 * 5
