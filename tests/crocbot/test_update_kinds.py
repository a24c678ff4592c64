"""docs/updates.md: what becomes of updates of every type of the Bot API."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crocbot import envelope
from crocbot.events import EditHandled, UpdateType
from crocbot.model import Outcome, Row
from tests.crocbot.test_turn import TurnFixture

PAGE = Path(__file__).parents[2] / "docs" / "updates.md"
ROW = re.compile(r"^\| `(\w+)` \| (yes|no) \| ([\w, ]+) \|", re.MULTILINE)
TABLE = {
    kind: (asked == "yes", set(closed.split(", ")))
    for kind, asked, closed in ROW.findall(PAGE.read_text())
}
# The fields of Update in Bot API 10.3, besides update_id.
KINDS = """
    message edited_message channel_post edited_channel_post business_connection
    business_message edited_business_message deleted_business_messages guest_message
    message_reaction message_reaction_count inline_query chosen_inline_result
    callback_query shipping_query pre_checkout_query purchased_paid_media poll
    poll_answer my_chat_member chat_member chat_join_request chat_boost
    removed_chat_boost managed_bot subscription stopped_message_generation
""".split()

USERS = st.fixed_dictionaries(
    {"id": st.sampled_from([7, 8]), "first_name": st.text(max_size=5)},
    optional={"is_bot": st.booleans(), "last_name": st.text(max_size=5)},
)
CHATS = st.sampled_from(
    [
        {"id": 7, "type": "private"},
        {"id": 8, "type": "private"},
        {"id": -5, "type": "supergroup", "title": "Cats"},
    ]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
STATUSES = st.fixed_dictionaries(
    {"status": st.sampled_from(["member", "kicked", "left", "restricted", "?"])}
)
MESSAGES = st.deferred(
    lambda: st.fixed_dictionaries(
        {"message_id": st.integers(1, 5), "date": st.integers(0, 2), "chat": CHATS},
        optional={
            "from": USERS,
            "text": st.text(max_size=9) | st.sampled_from(["/start", "/new", "hi"]),
            "caption": st.text(max_size=5),
            "entities": st.just([{"type": "bot_command", "offset": 0, "length": 4}]),
            "photo": st.just([{"file_id": "f", "width": 1, "height": 1}]),
            "location": st.just({"latitude": 1, "longitude": 2, "live_period": 60}),
            "new_chat_members": st.lists(USERS, max_size=1),
            "reply_to_message": MESSAGES | ANYTHING,
            "quote": st.just({"text": "part"}) | ANYTHING,
            "external_reply": ANYTHING,
            "forward_origin": ANYTHING,
            "sender_chat": CHATS,
            "is_topic_message": st.booleans(),
            "message_thread_id": st.integers(1, 5) | ANYTHING,
            "edit_date": st.integers(),
            "via_bot": USERS,
        },
    )
)
CONTENTS = st.one_of(
    MESSAGES,
    ANYTHING,
    st.fixed_dictionaries(
        {},
        optional={
            "id": st.text(max_size=3) | st.integers(),
            "from": USERS | ANYTHING,
            "user": USERS,
            "chat": CHATS | ANYTHING,
            "message": MESSAGES | ANYTHING,
            "inline_message_id": st.text(max_size=3),
            "data": st.sampled_from(["yes", "/start", "/stop", "/"]) | ANYTHING,
            "game_short_name": st.text(max_size=3),
            "old_chat_member": STATUSES | ANYTHING,
            "new_chat_member": STATUSES | ANYTHING,
            "draft_id": st.integers(),
            "date": st.integers(),
        },
    ),
)


def test_the_page_has_every_type() -> None:
    """It is complete, and says which ones Telegram is asked for."""
    assert set(TABLE) == set(KINDS)
    asked = {kind for kind, (is_asked, _) in TABLE.items() if is_asked}
    assert asked == {str(type_) for type_ in UpdateType}


async def turn(raw: dict[str, Any], mode: str) -> tuple[TurnFixture, list[Outcome]]:
    """Run the turn of an update."""
    scene = TurnFixture()
    scene.edits = mode
    return scene, await scene.run(Row(1, raw, 100.0))


def is_strange(value: Any) -> bool:
    """Return whether user 7, the only one with access, has no part in an update."""
    if isinstance(value, dict):
        return value.get("id") != 7 and all(map(is_strange, value.values()))
    if isinstance(value, list):
        return all(map(is_strange, value))
    return True


@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(content=CONTENTS, mode=st.sampled_from(["ignore", "answer"]))
def test_an_update(kind: str, content: Any, mode: str) -> None:
    """It gets an answer, or one sentence, or a documented and counted silence."""
    raw = {"update_id": 1, kind: content}
    scene, outcomes = asyncio.run(turn(raw, mode))
    (outcome,) = outcomes

    assert str(outcome.disposition) in TABLE[kind][1]
    assert outcome.update_ids == (1,)
    shown = bool(scene.telegram.texts)
    assert shown == (str(outcome.disposition) in {"answered", "failed"})
    if is_strange(content):
        assert (scene.asked, scene.telegram.calls) == ([], [])
    if scene.asked and kind == "edited_message":
        assert scene.events.of_type(EditHandled)


@given(content=CONTENTS)
def test_updates_that_are_looked_at_before_their_turn(content: Any) -> None:
    """Whatever they contain, none raises."""
    for kind in ("edited_message", "callback_query", "my_chat_member"):
        raw = {"update_id": 1, kind: content}
        envelope.chat_key(raw)
        envelope.is_stop(raw)
        envelope.membership(raw)
        envelope.press_key(raw)
        envelope.message_key(raw)
        replaced = replace(Row(1, raw, 0.0), raw=envelope.as_message(raw))
        assert "edited_message" not in replaced.raw
