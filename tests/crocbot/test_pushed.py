"""Pushed messages: what is accepted, how many, and what is left of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from crocbot import pushed
from crocbot.delivery_outcomes import PushState
from crocbot.model import ChatThread
from crocbot.outgoing import FileKind, SentSteps
from crocbot.pushed import NewFile, PushedFullError, RequestError, sql
from crocbot.store import Connection
from tests.crocbot.answer_files import png
from tests.crocbot.databases import Database


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """Open a new file."""
    with database.opened([pushed.SCHEMA]) as connection:
        yield connection


@pytest.mark.parametrize(
    ("chat", "expected"),
    [
        (7, ChatThread(7)),
        ("7", ChatThread(7)),
        ("-1001234", ChatThread(-1001234)),
        ("-1001234:5", ChatThread(-1001234, 5)),
    ],
)
def test_a_chat(chat: Any, expected: ChatThread) -> None:
    """It is an id, or that of a topic."""
    assert pushed.new_message(chat, "hi").chat == expected


@pytest.mark.parametrize(
    "chat",
    [
        *(0, "0", "@channel", "", "7:0", "7:", ":5", "7.0", 7.0, True, None, [7]),
        *(2**52, "\u0667", " 7", "--7", "7:99999999999", "9" * 400),
    ],
)
def test_no_chat(chat: Any) -> None:
    """Everything else is refused in one sentence."""
    with pytest.raises(RequestError, match="the chat must be the id"):
        pushed.new_message(chat, "hi")


@pytest.mark.parametrize("text", ["", " \n", "\u200b", None, 5, "x" * 65_537])
def test_no_text(text: Any) -> None:
    """A text has something to see, and an end."""
    with pytest.raises(RequestError, match="the text"):
        pushed.new_message(7, text)


@pytest.mark.parametrize(("chars", "is_caption"), [(1024, True), (1025, False)])
def test_a_text_with_a_file(chars: int, is_caption: bool) -> None:
    """A text that fits is the caption; a longer one is a message before the file."""
    file = NewFile(name="../a.png", content=png())
    message = pushed.new_message(7, "x" * chars, file=file)

    (sent,) = message.reply.files
    assert (sent.name, sent.kind) == ("a.png", FileKind.PHOTO)
    assert bool(sent.caption) is is_caption
    assert bool(message.reply.text) is not is_caption
    assert message.size == chars + len(png())


def test_a_message_is_kept_until_it_is_closed(connection: Connection) -> None:
    """Then its content is gone, and the row is there for the operator."""
    message = pushed.new_message(7, "half \ud800", file=NewFile(name="", content=b"x"))
    push_id = sql.add(connection, message, 1.0)
    sql.record(connection, push_id, SentSteps(messages=(3,), unknown=True))

    push = sql.load(connection, push_id)
    assert push is not None
    assert push.reply == message.reply
    assert push.sent == SentSteps(messages=(3,), unknown=True)
    assert sql.content(connection, push_id) == b"x"
    sql.close(connection, push_id, "refused \ud800", now=2.0, retention=2.0)
    # A second close is not counted.
    sql.close(connection, push_id, None, now=2.0, retention=2.0)
    assert sql.load(connection, push_id) is None
    assert sql.content(connection, push_id) is None
    assert sql.state(connection).rows == {
        PushState.OPEN: 0,
        PushState.SENT: 0,
        PushState.FAILED: 1,
    }
    assert list(pushed.describe(connection, 62.0)) == [
        "open 0, sent 0, failed 1",
        "  message 1 for chat 7: failed, 1 min ago: refused ?",
    ]
    sql.delete_expired(connection, 2.0 + sql.RETENTION_SECONDS + 1)
    assert sql.listed(connection, 10) == []
    assert sql.state(connection).rows[PushState.FAILED] == 1


def test_as_many_as_may_wait(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and bytes that are not sent are bounded; closed ones do not count."""
    monkeypatch.setattr(sql, "MAX_OPEN_ROWS", 2)
    monkeypatch.setattr(sql, "MAX_OPEN_BYTES", 10)
    small, large = pushed.new_message(7, "abc"), pushed.new_message(7, "x" * 8)
    sql.add(connection, small, 1.0)
    with pytest.raises(PushedFullError, match="10 bytes"):
        sql.add(connection, large, 1.0)
    sql.add(connection, small, 1.0)
    with pytest.raises(PushedFullError, match="2 messages"):
        sql.add(connection, small, 1.0)
    sql.close(connection, 1, None, now=1.0, retention=1.0)
    assert sql.add(connection, small, 1.0) == 3
    assert sql.open_rows(connection) == [(2, 7), (3, 7)]
