"""
The conversation of each chat, or topic of it, and the tokens that it used.

    remember(chat, exchange, usage) --> history(chat) --> the latest exchanges
                                        forget(chat)      /new
                                        usage(chat)       /usage

The history is at most `turns` exchanges with `chars` characters together; older ones
are deleted.  An exchange that alone is too long loses its middle.  Tokens are counted
for as long as the file exists.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from crocbot.model import ChatThread, Exchange, Usage
from crocbot.store import Store
from crocbot.text import replace_lone_surrogates

if TYPE_CHECKING:
    from sqlite3 import Connection

SCHEMA = """
CREATE TABLE IF NOT EXISTS exchanges (
    id        INTEGER PRIMARY KEY,
    chat_id   INTEGER NOT NULL,
    thread_id INTEGER NOT NULL,
    asked     TEXT NOT NULL,
    answered  TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS exchanges_of_a_chat ON exchanges (chat_id, thread_id, id);
CREATE TABLE IF NOT EXISTS tokens (
    chat_id       INTEGER NOT NULL,
    thread_id     INTEGER NOT NULL,
    answers       INTEGER NOT NULL,
    input_tokens  INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    PRIMARY KEY (chat_id, thread_id)
) WITHOUT ROWID
"""

# No topic has the id 0.
NO_THREAD = 0


class Sessions:
    """The conversations of all chats."""

    def __init__(self, store: Store, *, turns: int, chars: int) -> None:
        self._store = store
        self._turns = turns
        self._chars = chars

    async def history(self, chat: ChatThread) -> tuple[Exchange, ...]:
        """Return the latest exchanges, oldest first."""
        if not self._turns or not self._chars:
            return ()
        latest = await self._store.run(
            lambda connection: _latest(connection, chat, self._turns), write=False
        )
        return tuple(reversed(list(_fitting(latest, self._chars))))

    async def remember(
        self, chat: ChatThread, exchange: Exchange, usage: Usage
    ) -> None:
        """Store an exchange, count its tokens, and delete those that are too old."""
        stored = shorten(exchange, self._chars) if self._turns and self._chars else None

        def job(connection: Connection) -> None:
            _count(connection, chat, usage)
            if stored is not None:
                _insert(connection, chat, stored)
            _prune(connection, chat, self._turns)

        await self._store.run(job)

    async def forget(self, chat: ChatThread) -> None:
        """Delete the exchanges; the count of tokens stays."""
        await self._store.run(lambda connection: _prune(connection, chat, 0))

    async def usage(self, chat: ChatThread) -> tuple[int, Usage]:
        """Return the number of answers in this chat, and their tokens."""
        found = await self._store.run(
            lambda connection: connection.execute(
                "SELECT answers, input_tokens, output_tokens FROM tokens"
                " WHERE chat_id = ? AND thread_id = ?",
                _key(chat),
            ).fetchone(),
            write=False,
        )
        answers, *tokens = found or (0, 0, 0)
        return answers, Usage(*tokens)


def _key(chat: ChatThread) -> tuple[int, int]:
    return chat.chat_id, chat.thread_id or NO_THREAD


def _latest(connection: Connection, chat: ChatThread, turns: int) -> list[Exchange]:
    found = connection.execute(
        "SELECT asked, answered FROM exchanges WHERE chat_id = ? AND thread_id = ?"
        " ORDER BY id DESC LIMIT ?",
        (*_key(chat), turns),
    )
    return [Exchange(*row) for row in found]


def _fitting(latest: Iterable[Exchange], chars: int) -> Iterable[Exchange]:
    """Yield the latest ones that have `chars` characters together."""
    for exchange in latest:
        chars -= len(exchange.prompt) + len(exchange.answer)
        if chars < 0:
            return
        yield exchange


def shorten(exchange: Exchange, chars: int) -> Exchange:
    """Shorten an exchange to `chars`; the prompt gets at least half of them."""
    prompt = replace_lone_surrogates(exchange.prompt)
    answer = replace_lone_surrogates(exchange.answer)
    prompt = _without_middle(prompt, max(chars // 2, chars - len(answer)))
    return Exchange(prompt, _without_middle(answer, chars - len(prompt)))


def _without_middle(text: str, chars: int) -> str:
    """
    Replace the middle by an ellipsis.

        "abcdefghij", 7 --> "abc…hij"
    """
    if len(text) <= chars:
        return text
    half = max(chars - 1, 0) // 2
    return text[: chars - 1 - half] + "…" + text[len(text) - half :] if chars else ""


def _insert(connection: Connection, chat: ChatThread, exchange: Exchange) -> None:
    connection.execute(
        "INSERT INTO exchanges (chat_id, thread_id, asked, answered)"
        " VALUES (?, ?, ?, ?)",
        (*_key(chat), exchange.prompt, exchange.answer),
    )


def _prune(connection: Connection, chat: ChatThread, turns: int) -> None:
    connection.execute(
        "DELETE FROM exchanges WHERE chat_id = ? AND thread_id = ? AND id NOT IN"
        " (SELECT id FROM exchanges WHERE chat_id = ? AND thread_id = ?"
        "  ORDER BY id DESC LIMIT ?)",
        (*_key(chat), *_key(chat), turns),
    )


def _count(connection: Connection, chat: ChatThread, usage: Usage) -> None:
    connection.execute(
        "INSERT INTO tokens VALUES (?, ?, 1, ?, ?) ON CONFLICT DO UPDATE SET"
        " answers = answers + 1, input_tokens = input_tokens + excluded.input_tokens,"
        " output_tokens = output_tokens + excluded.output_tokens",
        (*_key(chat), usage.input_tokens, usage.output_tokens),
    )
