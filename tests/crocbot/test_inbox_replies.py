"""Replies with files are kept until their row is closed, and no longer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from crocbot.errors import StoreError
from crocbot.inbox import KeptReplies, describe, reopen
from crocbot.inbox.sql import RETENTION_SECONDS
from crocbot.model import Disposition, Outcome, Reply
from crocbot.outgoing import Button, FileKind, OutgoingFile, SentSteps
from tests.crocbot.databases import Database
from tests.crocbot.fakes import FakeClocks
from tests.crocbot.inboxes import InboxFixture, open_inbox

FILE = OutgoingFile(
    kind=FileKind.DOCUMENT,
    name="a.pdf",
    mime_type="application/pdf",
    size=3,
    caption="half a pair: \ud83d",
    wanted=FileKind.PHOTO,
)
STORED = replace(FILE, caption="half a pair: ?")
REPLY = Reply(
    "Here.",
    markdown=True,
    files=(STORED, STORED),
    buttons=(
        (Button(text="Yes", data="yes"), Button(text="More", url="https://a.example")),
        (Button(text="No", data="no"),),
    ),
)
SENT = SentSteps(messages=(5, 6), files=1, unknown=True)


async def keep(inbox: InboxFixture, update_id: int) -> KeptReplies:
    """Keep a reply to an update."""
    kept = KeptReplies(inbox.store)
    for position in range(2):
        content = b"abc" if position else b"def"
        await kept.add_file(update_id, position, FILE, content)
    await kept.keep(update_id, REPLY, SentSteps())
    return kept


async def counts(inbox: InboxFixture) -> Sequence[int]:
    """Return how many replies and files are kept."""
    ((replies,),) = await inbox.query("SELECT count(*) FROM kept_replies")
    ((files,),) = await inbox.query("SELECT count(*) FROM reply_files")
    return replies, files


def outcome(disposition: Disposition, **fields: Any) -> Outcome:
    """Return an outcome that closes update 1."""
    return Outcome(disposition, update_ids=(1,), **fields)


async def test_after_a_crash(database: Database) -> None:
    """An open row has its reply, how far it has been sent, and each content."""
    async with open_inbox(database) as inbox:
        await inbox.accept_ids(1, 2)
        kept = await keep(inbox, 1)
        await kept.record(1, SENT)
    async with open_inbox(database) as inbox:
        await inbox.recover(orderly=False)
        one, two = await inbox.open_rows()
        kept = KeptReplies(inbox.store)

        assert (one.reply, one.sent) == (REPLY, SENT)
        lines = await inbox.store.run(lambda each: list(describe(each, 0.0)))
        assert "its answer is kept: 1 of 2 files sent" in lines[1]
        assert "kept" not in lines[2]
        assert (two.reply, two.sent) == (None, None)
        assert [await kept.content(1, n) for n in (0, 1)] == [b"def", b"abc"]
        with pytest.raises(StoreError):
            await kept.content(2, 0)


async def test_an_answer_that_was_not_complete(database: Database) -> None:
    """Its files are deleted at the next start, and the agent is asked again."""
    async with open_inbox(database) as inbox:
        await inbox.accept_ids(1)
        await KeptReplies(inbox.store).add_file(1, 0, FILE, b"abc")
    async with open_inbox(database) as inbox:
        await inbox.recover(orderly=False)
        (row,) = await inbox.open_rows()

        assert row.reply is None
        assert await counts(inbox) == (0, 0)


async def test_a_second_answer(database: Database) -> None:
    """Its first file replaces all files of the answer before."""
    async with open_inbox(database) as inbox:
        await inbox.accept_ids(1)
        kept = await keep(inbox, 1)
        await kept.add_file(1, 0, FILE, b"new")

        assert await kept.content(1, 0) == b"new"
        assert await counts(inbox) == (0, 1)


@pytest.mark.parametrize("disposition", list(Disposition))
async def test_a_closed_row(database: Database, disposition: Disposition) -> None:
    """A row that is closed keeps no files, however it ended."""
    async with open_inbox(database) as inbox:
        await inbox.accept_ids(1)
        await keep(inbox, 1)
        await inbox.close_rows(outcome(disposition, undelivered=None))

        assert await counts(inbox) == (0, 0)


async def test_an_undelivered_reply(database: Database) -> None:
    """A failed row keeps its reply for a retry, until it expires."""
    clocks = FakeClocks()
    async with open_inbox(database, clocks) as inbox:
        await inbox.accept_ids(1)
        kept = await keep(inbox, 1)
        await kept.record(1, SENT)
        failed = outcome(Disposition.FAILED, undelivered=REPLY)
        await inbox.close_rows(failed)
        await inbox.recover(orderly=True)

        await inbox.store.run(lambda connection: reopen(connection, None))
        (row,) = await inbox.reopened()
        assert (row.reply, row.sent) == (REPLY, SENT)

        await inbox.close_rows(failed)
        inbox.run_for(RETENTION_SECONDS + 60)
        await inbox.tidy()
        assert await counts(inbox) == (0, 0)


async def test_the_bound(database: Database) -> None:
    """All kept files together have a bound, which a closed row makes room in."""
    async with open_inbox(database) as inbox:
        await inbox.accept_ids(1, 2)
        kept = KeptReplies(inbox.store, max_bytes=5)
        await kept.add_file(1, 0, FILE, b"abc")
        with pytest.raises(StoreError, match="more than 5 bytes"):
            await kept.add_file(2, 0, FILE, b"abc")
        await inbox.close_rows(outcome(Disposition.CANCELLED))
        await kept.add_file(2, 0, FILE, b"abc")

        assert await counts(inbox) == (0, 1)
