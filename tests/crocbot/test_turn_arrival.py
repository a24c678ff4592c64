"""Updates that cannot wait for their turn: presses of buttons, membership."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from crocbot.access import AccessPolicy, DenialLog
from crocbot.arrival_outcomes import Membership, PressOutcome
from crocbot.errors import CrocbotError, DeliveryError, InboxError, StoreError
from crocbot.events import MembershipChanged, PressHandled
from crocbot.inbox.sql import Failure
from crocbot.model import BotIdentity, Message, Row
from crocbot.turn import Arrivals
from crocbot.turn.arrival import CHAT_GONE_REASON
from tests.crocbot.fakes import RecordedEvents

IN, OUT = {"status": "member"}, {"status": "kicked"}
QUERY = {
    "id": "77",
    "from": {"id": 7, "is_bot": False},
    "message": {"message_id": 2, "chat": {"id": 7, "type": "private"}, "date": 1},
    "data": "yes",
}


class ArrivalFixture:
    """Stages, an inbox and a Telegram, in which user 7 has access."""

    def __init__(self, **policy: Any) -> None:
        self.bot = BotIdentity(99, "our_bot")
        self.policy = AccessPolicy(**({"listed": frozenset({7})} | policy))
        self.denials = DenialLog()
        self.pairings = self
        self.events = RecordedEvents()
        self.told: list[str] = []
        self.error: CrocbotError | None = None
        self.kept = [
            Failure(
                update_id=number,
                closed_at=0.0,
                reason=reason,
                raw={"message": {"chat": {"id": chat}}},
            )
            for number, chat, reason in [
                (1, 7, f"{CHAT_GONE_REASON}: Forbidden"),
                (2, 7, CHAT_GONE_REASON),
                (3, 7, "the agent failed"),
                (4, 8, CHAT_GONE_REASON),
                (5, -5, CHAT_GONE_REASON),
            ]
        ]
        self.arrivals = Arrivals(
            stages=self,  # type: ignore[arg-type]
            inbox=self,  # type: ignore[arg-type]
            client=self,  # type: ignore[arg-type]
            events=self.events,
        )

    async def has_access(self, message: Message) -> bool:
        if isinstance(self.error, StoreError):
            raise self.error
        return self.policy.decide(message).allowed

    async def is_paired(self, user_id: int) -> bool:
        if self.error is not None:
            raise self.error
        return user_id == 9

    async def confirm_press(self, query_id: str) -> None:
        if self.error is not None:
            raise self.error
        self.told.append(query_id)

    async def failures(self) -> list[Failure]:
        if self.error is not None:
            raise self.error
        return self.kept

    async def open_again(self, update_ids: list[int]) -> list[Row]:
        return [Row(number, {}, 0.0, retried=True) for number in update_ids]

    async def press(self, *, repeated: bool = False, **query: Any) -> PressOutcome:
        """Confirm a press; return its outcome."""
        raw = {"update_id": 1, "callback_query": QUERY | query}
        await self.arrivals.confirm_press(Row(1, raw, 0.0), repeated=repeated)
        (event,) = self.events.of_type(PressHandled)
        return event.outcome

    async def change(
        self, chat: Any, old: Any, new: Any, type_: str = "private"
    ) -> Any:
        """Change the membership in a chat; return the ids of the rows that open."""
        change = {
            "chat": {"id": chat, "type": type_},
            "old_chat_member": old,
            "new_chat_member": new,
        }
        row = Row(9, {"update_id": 9, "my_chat_member": change}, 0.0)
        return [each.update_id for each in await self.arrivals.change_membership(row)]


async def test_a_press_is_confirmed() -> None:
    """Telegram gets the id of the query; a repeated press is counted as one."""
    first, second = ArrivalFixture(), ArrivalFixture()

    assert await first.press() is PressOutcome.CONFIRMED
    assert await second.press(repeated=True) is PressOutcome.REPEATED
    assert first.told == second.told == ["77"]


@pytest.mark.parametrize(
    ("query", "outcome"),
    [
        ({"from": {"id": 8}}, PressOutcome.DENIED),
        (
            {"message": QUERY["message"] | {"chat": {"id": -5, "type": "group"}}},
            PressOutcome.DENIED,
        ),
        ({"data": None, "game_short_name": "chess"}, PressOutcome.UNREADABLE),
        ({"message": None, "inline_message_id": "5"}, PressOutcome.UNREADABLE),
        ({"from": "?"}, PressOutcome.UNREADABLE),
    ],
)
async def test_a_press_that_is_not_confirmed(
    query: dict[str, Any], outcome: PressOutcome
) -> None:
    """A stranger, and what cannot be read, cause no request."""
    world = ArrivalFixture()

    assert await world.press(**query) is outcome
    assert world.told == []


@pytest.mark.parametrize(
    "error", [DeliveryError("query is too old"), StoreError("disk full")]
)
async def test_a_press_that_cannot_be_confirmed(error: CrocbotError) -> None:
    """The error is logged; the turn of the press runs all the same."""
    world = ArrivalFixture()
    world.error = error
    with capture_logs() as logs:
        assert await world.press() is PressOutcome.UNCONFIRMED

    assert [each["event"] for each in logs] == [
        "the press of a button was not confirmed"
    ]


@pytest.mark.parametrize(
    ("chat", "type_", "opened"),
    [(7, "private", [1, 2]), (8, "private", []), (-5, "group", [5])],
)
async def test_rows_open_when_the_bot_can_write_again(
    chat: int, type_: str, opened: list[int]
) -> None:
    """Those of a chat with access that failed because the bot could not write."""
    world = ArrivalFixture(groups={-5: "mention"})

    assert await world.change(chat, OUT, IN, type_) == opened
    assert await world.change(chat, IN, OUT, type_) == []
    private = type_ == "private"
    assert world.events.of_type(MembershipChanged) == [
        MembershipChanged(Membership.UNBLOCKED if private else Membership.ADDED),
        MembershipChanged(Membership.BLOCKED if private else Membership.REMOVED),
    ]


@pytest.mark.parametrize(
    ("policy", "chat", "opened"),
    [
        ({"everyone": True}, 8, [4]),
        ({"pairing": True}, 9, []),
        ({"pairing": True}, 8, []),
    ],
)
async def test_who_has_access(
    policy: dict[str, Any], chat: int, opened: list[int]
) -> None:
    """Everyone if access is open, and who was paired; for others nothing is read."""
    world = ArrivalFixture(**policy)
    with capture_logs() as logs:
        assert await world.change(chat, OUT, IN) == opened

    assert bool(logs) == (chat == 9 or "everyone" in policy)


@pytest.mark.parametrize(
    ("policy", "error"),
    [({}, InboxError("disk full")), ({"pairing": True}, StoreError("disk full"))],
)
async def test_rows_that_cannot_be_opened(
    policy: dict[str, Any], error: CrocbotError
) -> None:
    """The error is logged; the rows stay as they are, for the operator."""
    world = ArrivalFixture(**policy)
    world.error = error
    with capture_logs() as logs:
        assert await world.change(7, OUT, IN) == []

    assert logs[-1]["log_level"] == "error"


async def test_a_group_without_access() -> None:
    """The log says once how to give access; no rows are looked for."""
    world = ArrivalFixture()
    with capture_logs() as logs:
        assert await world.change(-6, OUT, IN, "group") == []
        assert await world.change(-6, IN, OUT, "group") == []
        assert await world.change(-6, OUT, IN, "group") == []

    assert [each["fix"] for each in logs] == ["add -6 to CROCBOT_GROUPS"]


async def test_a_change_that_says_nothing() -> None:
    """Without a chat, or without a status, there is nothing to count."""
    world = ArrivalFixture()

    assert await world.change(None, OUT, IN) == []
    assert await world.change(7, 5, IN) == []
    assert not world.events
