"""What alerts keep: what was told, and the starts of the gateway."""

from __future__ import annotations

import pytest

from crocbot import alerts, inbox
from crocbot.alert_outcomes import AlertWay
from crocbot.alerts import AlertKeeper, keep
from crocbot.alerts.state import Told
from crocbot.alerts.table import AlertName
from crocbot.inbox import Inbox
from crocbot.model import Disposition, Outcome, Reply
from crocbot.turn import CHAT_GONE_REASON
from tests.crocbot.databases import Database
from tests.crocbot.fakes import FakeClocks

SCHEMAS = [inbox.SCHEMA, alerts.SCHEMA]


async def test_what_was_told_is_replaced_as_a_whole(database: Database) -> None:
    """A way has what it saved last, also after a restart; other ways keep theirs."""
    first, second = list(AlertName)[:2]
    told = Told(since=1.5, at=2.5, ended=None)
    async with database.store(SCHEMAS) as store:
        keeper = AlertKeeper(store)
        await keeper.save(AlertWay.CHAT, {first: told})
        await keeper.save(AlertWay.WEBHOOK, {first: told, second: told})
        await keeper.save(AlertWay.WEBHOOK, {second: told})
        await keeper.save(AlertWay.CHAT, {})
    async with database.store(SCHEMAS) as store:
        found = await AlertKeeper(store).told()
    assert found == {AlertWay.CHAT: {}, AlertWay.WEBHOOK: {second: told}}


async def test_counts(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts count for a while, replies unless the chat is gone; both are bounded."""
    monkeypatch.setattr(keep, "MAX_STARTS", 3)
    clocks = FakeClocks()
    async with database.store(SCHEMAS, clocks) as store, Inbox(store) as rows:
        keeper = AlertKeeper(store)
        await rows.accept([{"update_id": number} for number in range(3)])
        for number, reason in enumerate(["refused", f"{CHAT_GONE_REASON}: x", None]):
            outcome = Outcome(
                Disposition.FAILED,
                update_ids=(number,),
                reason=reason,
                undelivered=Reply("hi"),
            )
            await rows.close_rows(outcome)
        for _ in range(5):
            await keeper.record_start()
        soon = await keeper.counts()
        clocks.run(keep.STARTS_SECONDS + 1)
        later = await keeper.counts()
    assert (soon.kept_replies, soon.starts, later.starts) == (2, 3, 0)
