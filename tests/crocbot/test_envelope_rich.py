"""The text of rich messages, which have blocks in place of a text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot import envelope
from crocbot.envelope.rich import MAX_CHARS, rich_text
from crocbot.model import BotIdentity, MessageType, Row
from tests.crocbot.test_envelope import US, raw

BOT = BotIdentity(99, "Our_Bot")
PARAGRAPH = {"type": "paragraph", "text": ["an ", {"type": "bold", "text": "iguana"}]}
LIZARDS = {"blocks": [{"type": "heading", "text": "Lizards"}, PARAGRAPH]}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (LIZARDS, "Lizards\nan iguana"),
        (
            {
                "blocks": [
                    {"type": "table", "cells": [[{"text": "a"}, {"text": "b"}], []]},
                    {"type": "mathematical_expression", "expression": "x^2"},
                    {"type": "divider"},
                ]
            },
            "a | b\nx^2",
        ),
        (
            {
                "blocks": [
                    {
                        "type": "list",
                        "items": [{"blocks": [PARAGRAPH]}, {"blocks": [PARAGRAPH]}],
                    },
                    {"type": "photo", "photo": [], "caption": {"text": "look"}},
                    {"type": "hologram", "text": "new"},
                ]
            },
            "an iguana\nan iguana\nlook\nnew",
        ),
        ({}, ""),
        (None, ""),
        ({"blocks": 7}, ""),
    ],
)
def test_text(message: Any, expected: str) -> None:
    """Each block is a line, each row of a table one with its cells."""
    assert rich_text(message) == expected


def test_a_rich_message() -> None:
    """It is read like a text, also when a message replies to it."""
    message = envelope.read(Row(1, raw(rich_message=LIZARDS), 5.0), BOT)
    original = raw(rich_message=LIZARDS, **{"from": US})["message"]
    reply = envelope.read(Row(1, raw(text="ok", reply_to_message=original), 5.0), BOT)

    assert message is not None
    assert (message.type, message.text) == (MessageType.TEXT, "Lizards\nan iguana")
    assert reply is not None
    assert reply.context.quoted is not None
    assert reply.context.quoted.text == "Lizards\nan iguana"
    assert reply.context.quoted.attachments == ()


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["blocks", "text", "cells", "items", "caption"]), inner
            )
        ),
    )
)
def test_any_content(message: Any) -> None:
    """Whatever it contains, there is a bounded text."""
    assert len(rich_text(message)) <= MAX_CHARS


def test_deep_contents() -> None:
    """Contents in contents end at a bound."""
    value: Any = "x"
    for _ in range(2000):
        value = {"blocks": [value]}

    assert rich_text(value) == ""
