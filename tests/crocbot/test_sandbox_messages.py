"""Messages of users."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot.sandbox import messages


@pytest.mark.parametrize(
    ("text", "entities"),
    [
        ("hello", None),
        ("/start", [(0, 6)]),
        ("/start@our_bot now", [(0, 14)]),
        ("🐊 /help", [(3, 5)]),
        ("a /b c /d", [(2, 2), (7, 2)]),
        ("and/or", None),
        ("/usr/bin", None),
        ("/", None),
    ],
)
def test_commands_are_entities(
    text: str, entities: list[tuple[int, int]] | None
) -> None:
    """Commands are found as Telegram does, in UTF-16 units."""
    marked = messages.text(text).get("entities")
    found = marked and [(entity["offset"], entity["length"]) for entity in marked]

    assert found == entities


@given(st.text() | st.text("/ab@🐊 <"))
def test_an_entity_covers_a_command(text: str) -> None:
    """In any text an entity begins at a slash and ends within the text."""
    units = text.encode("utf-16-le", "surrogatepass")
    for entity in messages.text(text).get("entities", ()):
        begin, end = 2 * entity["offset"], 2 * (entity["offset"] + entity["length"])
        marked = units[begin:end].decode("utf-16-le")

        assert re.fullmatch(r"/\w+(@\w+)?", marked, re.ASCII)
        assert len(units[begin:end]) == 2 * entity["length"]
