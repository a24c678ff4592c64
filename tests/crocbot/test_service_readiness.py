"""When the gateway is ready, and the reasons when it is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crocbot.botapi import Poller, Webhook
from crocbot.inbox import SCHEMA, Inbox
from crocbot.service import readiness as module
from crocbot.service.readiness import Readiness
from crocbot.store import SqliteStore

HOLDS = {"telegram": None, "inbox": None, "drain": None}


@pytest.fixture
async def inbox(tmp_path: Path) -> AsyncIterator[Inbox]:
    """Return an open inbox."""
    async with (
        SqliteStore(tmp_path / "inbox", [SCHEMA]) as store,
        Inbox(store) as inbox,
    ):
        yield inbox


def update_source(
    completed: float | None, trouble: str | None = None, contact: str = Poller.contact
) -> Any:
    """Return a source of updates that last had contact at this time."""
    return SimpleNamespace(completed_at=completed, error=trouble, contact=contact)


@pytest.mark.parametrize(
    ("state", "failures"),
    [
        ({"update_source": update_source(99.0)}, {}),
        ({}, {"telegram": "not reached yet"}),
        ({"startup_error": "down"}, {"telegram": "not reached yet: down"}),
        (
            {"update_source": update_source(None)},
            {"telegram": "no poll has completed yet"},
        ),
        ({"update_source": update_source(40.0, "down")}, {}),
        (
            {"update_source": update_source(39.0)},
            {"telegram": "no poll has completed for 61 s"},
        ),
        (
            {"update_source": update_source(39.0, "down")},
            {"telegram": "no poll has completed for 61 s: down"},
        ),
        (
            {"update_source": update_source(39.0, contact=Webhook.contact)},
            {"telegram": "no webhook check or request has completed for 61 s"},
        ),
        (
            {"update_source": update_source(99.0), "draining": True},
            {"drain": "stopping"},
        ),
    ],
)
async def test_conditions(
    inbox: Inbox, state: dict[str, Any], failures: dict[str, str]
) -> None:
    """A condition that holds is None, one that fails has its reason."""
    readiness = Readiness(inbox=inbox, clock=lambda: 100.0, **state)

    assert await readiness.check() == {**HOLDS, **failures}


async def test_an_inbox_that_cannot_be_written_to(inbox: Inbox, tmp_path: Path) -> None:
    """The inbox is probed again after a while, and at once while it fails."""
    file, elsewhere = tmp_path / "inbox", tmp_path / "elsewhere"
    now = [100.0]
    readiness = Readiness(inbox=inbox, clock=lambda: now[0])
    assert (await readiness.check())["inbox"] is None
    file.rename(elsewhere)
    assert (await readiness.check())["inbox"] is None
    now[0] += module.PROBE_EVERY_SECONDS
    assert "No such file" in str((await readiness.check())["inbox"])
    elsewhere.rename(file)
    assert (await readiness.check())["inbox"] is None


async def test_a_bug_in_the_probe(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe that ends with any exception is a condition that fails."""

    async def probe(_: Inbox) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Inbox, "probe", probe)

    condition = (await Readiness(inbox=inbox).check())["inbox"]
    assert condition == "ZeroDivisionError: a bug"


async def test_a_disk_that_does_not_answer(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one probe hangs the condition fails, and no other probe is started."""
    monkeypatch.setattr(module, "PROBE_TIMEOUT_SECONDS", 0.01)
    probes: list[None] = []
    answers = asyncio.Event()

    async def probe(_: Inbox) -> None:
        probes.append(None)
        await answers.wait()

    monkeypatch.setattr(Inbox, "probe", probe)
    readiness = Readiness(inbox=inbox, clock=lambda: 100.0)
    for _ in range(3):
        reason = (await readiness.check())["inbox"]
        assert reason == "the disk gives no answer within 0.01 s"
    assert len(probes) == 1
    answers.set()
    assert (await readiness.check())["inbox"] is None


class FakeReplica:
    """A replica, and what it knows of the database."""

    def __init__(self, note: str | None, error: str | None = None) -> None:
        self.standby_note = note
        self.database_error = error


async def test_a_standby(inbox: Inbox) -> None:
    """Once it has reached Telegram it is ready without polls, and says so."""
    note = "standby; the poller is b"
    readiness = Readiness(inbox=inbox, replica=FakeReplica(note))
    assert (await readiness.check())["telegram"] == "not reached yet"
    assert readiness.notes() == {}
    readiness.update_source = update_source(None)

    assert await readiness.check() == {**HOLDS, "database": None}
    assert readiness.notes() == {"telegram": note}
    readiness.replica = FakeReplica(None, "no answer")
    assert await readiness.check() == {
        **HOLDS,
        "telegram": "no poll has completed yet",
        "database": "no answer",
    }
