"""Which updates are fragments of one message, and what they make together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot import fragments
from crocbot.model import ChatThread, Message, MessageType, RawUpdate

LONG = "x" * 4096


def update(sender: Any = 7, date: Any = 100, **content: Any) -> RawUpdate:
    """An update with a message of this content."""
    return {
        "update_id": 1,
        "message": {"from": {"id": sender}, "date": date, **content},
    }


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (update(media_group_id="5", photo=[]), True),
        (update(text=LONG), True),
        (update(text="\U0001f40a" * 1536), True),
        (update(text="x" * 3071), False),
        (update(text="hello"), False),
        (update(photo=[], caption=LONG), False),
        (update(media_group_id=5), False),
        ({"update_id": 1, "edited_message": {"text": LONG}}, False),
        ({"update_id": 1, "message": "?"}, False),
    ],
)
def test_may_continue(raw: RawUpdate, expected: bool) -> None:
    """Photos of albums and long texts may have further fragments, nothing else."""
    assert fragments.may_continue(raw) is expected


ALBUM = update(media_group_id="5", photo=[])
PASTE = update(text=LONG)


@pytest.mark.parametrize(
    ("previous", "raw", "expected"),
    [
        (ALBUM, update(media_group_id="5", video={}), True),
        (ALBUM, update(media_group_id="6", photo=[]), False),
        (ALBUM, update(text="nice, are they not?"), False),
        (PASTE, update(text="the end"), True),
        (PASTE, update(text=LONG), True),
        (PASTE, update(text="later", date=106), False),
        (PASTE, update(text="another person", sender=8), False),
        (PASTE, update(photo=[]), False),
        (PASTE, ALBUM, False),
        (update(text=LONG, sender=None), update(text="rest", sender=None), False),
        (update(text="short"), update(text="also short"), False),
        (PASTE, {"update_id": 2}, False),
    ],
)
def test_continues(previous: RawUpdate, raw: RawUpdate, expected: bool) -> None:
    """The same album, or the next text of the same person at the same time."""
    assert fragments.continues(previous, raw) is expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["one"], "one"),
        (["", "a caption", ""], "a caption"),
        (["first", "second"], "first\nsecond"),
        ([LONG, "rest"], LONG + "rest"),
        (["x" * 4000, LONG, "rest"], "x" * 4000 + "\n" + LONG + "rest"),
    ],
)
def test_join(texts: list[str], expected: str) -> None:
    """Texts follow each other; a word that was split in two is whole again."""
    messages = [message(text) for text in texts]

    assert fragments.join(messages) == message(expected)


def message(text: str) -> Message:
    """A private message."""
    return Message(
        update_id=1,
        chat=ChatThread(7),
        message_id=1,
        sender_id=7,
        private=True,
        type=MessageType.TEXT,
        text=text,
        command=None,
        accepted_at=0.0,
        full_length=len(text) == 4096,
    )


WORDS = st.sampled_from(["", "id", "x" * 4000])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner),
    max_leaves=4,
)
FIELDS = st.dictionaries(
    st.sampled_from(["text", "from", "date", "media_group_id"]), JSON
)


@given(st.dictionaries(st.sampled_from(["message", "x"]), JSON | FIELDS))
def test_any_json(raw: dict[str, Any]) -> None:
    """Any JSON is judged; nothing raises."""
    assert fragments.may_continue(raw) in {True, False}
    assert fragments.continues(raw, raw) in {True, False}
