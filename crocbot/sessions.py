"""
The conversation of each chat, or topic of it, and the tokens that it used.

    remember(chat, exchange, usage) --> history(chat) --> the latest exchanges
                                        forget(chat)      /new
                                        usage(chat)       /usage
    move(old, new)                      a group became a supergroup

The history is at most `turns` exchanges with `chars` characters together; older ones
are deleted.  An exchange that alone is too long loses its middle.  Tokens are counted
for as long as the file exists.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crocbot.context import QUOTE
from crocbot.model import ChatThread, Exchange, Usage
from crocbot.store import Connection, Store, Write
from crocbot.text import replace_lone_surrogates

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
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS moved_chats (
    old_id INTEGER PRIMARY KEY,
    new_id INTEGER NOT NULL
)
"""

ADD_TOKENS = (
    " ON CONFLICT (chat_id, thread_id) DO UPDATE SET"
    " answers = tokens.answers + excluded.answers,"
    " input_tokens = tokens.input_tokens + excluded.input_tokens,"
    " output_tokens = tokens.output_tokens + excluded.output_tokens"
)

# No topic has the id 0.
NO_THREAD = 0

Key = tuple[int, int]
"""The ids of a chat and of its topic."""


class Sessions:
    """The conversations of all chats."""

    def __init__(self, store: Store, *, turns: int, chars: int) -> None:
        self.store = store
        self.turns = turns
        self._chars = chars
        self._moved: dict[int, int] = {}

    async def history(self, chat: ChatThread) -> tuple[Exchange, ...]:
        """Return the latest exchanges, oldest first."""
        if not self.turns or not self._chars:
            return ()
        key = self._key(chat)
        latest = await self.store.run(
            lambda connection: _latest(connection, key, self.turns),
            write=False,
            atomic=False,
        )
        return tuple(reversed(list(_fitting(latest, self._chars))))

    async def remember(
        self,
        chat: ChatThread,
        exchange: Exchange,
        usage: Usage,
        counts: Sequence[Write] = (),
    ) -> None:
        """
        Store an exchange, count its tokens, and delete those that are too old.

        `counts` are written in the same step.
        """
        stored = shorten(exchange, self._chars) if self.turns and self._chars else None
        await self.write(self._key(chat), stored, usage, counts)

    async def write(
        self,
        key: Key,
        exchange: Exchange | None,
        usage: Usage,
        counts: Sequence[Write],
    ) -> None:
        """Store an exchange, if there is one, and count its tokens, in one step."""

        def job(connection: Connection) -> None:
            for each in counts:
                each(connection)
            _count(connection, key, usage)
            if exchange is not None:
                _insert(connection, key, exchange)
            _prune(connection, key, self.turns)

        await self.store.run(job)

    async def forget(self, chat: ChatThread) -> None:
        """Delete the exchanges; the count of tokens stays."""
        key = self._key(chat)
        await self.store.run(lambda connection: _prune(connection, key, 0))

    async def usage(self, chat: ChatThread) -> tuple[int, Usage]:
        """Return the number of answers in this chat, and their tokens."""
        key = self._key(chat)
        found = await self.store.run(
            lambda connection: connection.execute(
                "SELECT answers, input_tokens, output_tokens FROM tokens"
                " WHERE chat_id = ? AND thread_id = ?",
                key,
            ).fetchone(),
            write=False,
            atomic=False,
        )
        answers, *tokens = found or (0, 0, 0)
        return answers, Usage(*tokens)

    async def move(self, old: int, new: int) -> None:
        """Make everything of a chat that of its new id, what is added later as well."""
        self._moved[old] = new
        await self.store.run(lambda connection: _move(connection, old, new))

    async def moves(self) -> list[tuple[int, int]]:
        """Return the old and the new id of each chat that was moved."""
        found = await self.store.run(
            lambda connection: connection.execute(
                "SELECT old_id, new_id FROM moved_chats"
            ).fetchall(),
            write=False,
            atomic=False,
        )
        self._moved |= dict(found)
        return found

    def _key(self, chat: ChatThread) -> Key:
        chat_id = self._moved.get(chat.chat_id, chat.chat_id)
        return chat_id, chat.thread_id or NO_THREAD


def _latest(connection: Connection, key: Key, turns: int) -> list[Exchange]:
    found = connection.execute(
        "SELECT asked, answered FROM exchanges WHERE chat_id = ? AND thread_id = ?"
        " ORDER BY id DESC LIMIT ?",
        (*key, turns),
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
    end = _marked_end(text, len(text) - half)
    return text[: chars - 1 - half] + "…" + end if chars else ""


def _marked_end(text: str, start: int) -> str:
    """Return a text from `start` on; if a line of a quotation is cut, it is marked."""
    line, end = text[text.rfind("\n", 0, start) + 1 :], text[start:]
    mark = f"\n{QUOTE}" if line.startswith(QUOTE) else ""
    return mark + end[len(mark) :] if len(end) > len(mark) else end


def _insert(connection: Connection, key: Key, exchange: Exchange) -> None:
    connection.execute(
        "INSERT INTO exchanges (chat_id, thread_id, asked, answered)"
        " VALUES (?, ?, ?, ?)",
        (*key, exchange.prompt, exchange.answer),
    )


def _prune(connection: Connection, key: Key, turns: int) -> None:
    connection.execute(
        "DELETE FROM exchanges WHERE chat_id = ? AND thread_id = ? AND id NOT IN"
        " (SELECT id FROM exchanges WHERE chat_id = ? AND thread_id = ?"
        "  ORDER BY id DESC LIMIT ?)",
        (*key, *key, turns),
    )


def _count(connection: Connection, key: Key, usage: Usage) -> None:
    connection.execute(
        "INSERT INTO tokens VALUES (?, ?, 1, ?, ?)" + ADD_TOKENS,  # noqa: S608
        (*key, usage.input_tokens, usage.output_tokens),
    )


def _move(connection: Connection, old: int, new: int) -> None:
    connection.execute(
        "INSERT INTO moved_chats VALUES (?, ?) ON CONFLICT (old_id) DO UPDATE"
        " SET new_id = excluded.new_id",
        (old, new),
    )
    connection.execute("UPDATE exchanges SET chat_id = ? WHERE chat_id = ?", (new, old))
    connection.execute(
        "INSERT INTO tokens SELECT ?, thread_id, answers, input_tokens, output_tokens"  # noqa: S608
        " FROM tokens WHERE chat_id = ?" + ADD_TOKENS,
        (new, old),
    )
    connection.execute("DELETE FROM tokens WHERE chat_id = ?", (old,))
