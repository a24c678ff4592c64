"""When the gateway is ready, and what is said when it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from crocbot.inbox import Inbox
from crocbot.service import readiness as module
from crocbot.service.readiness import Readiness

GOOD: Mapping[str, str | None] = {"telegram": None, "inbox": None, "drain": None}


def look(folder: Path, **state: object) -> Mapping[str, str | None]:
    """The conditions in a state, at 100 s on the clock."""

    async def run() -> Mapping[str, str | None]:
        async with Inbox(folder / "inbox") as inbox:
            conditions = Readiness(inbox, clock=lambda: 100.0, greeted=True)
            conditions.heard = lambda: 99.0
            for name, value in state.items():
                setattr(conditions, name, value)
            return await conditions.all()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("state", "changes"),
    [
        ({}, {}),
        ({"greeted": False}, {"telegram": "not reached yet"}),
        (
            {"greeted": False, "trouble": lambda: "down"},
            {"telegram": "not reached yet: down"},
        ),
        ({"heard": lambda: None}, {"telegram": "no poll has completed yet"}),
        ({"heard": lambda: 40.0}, {}),
        ({"heard": lambda: 40.0, "trouble": lambda: "down"}, {}),
        ({"heard": lambda: 39.0}, {"telegram": "no poll has completed for 61 s"}),
        (
            {"heard": lambda: 39.0, "trouble": lambda: "down"},
            {"telegram": "no poll has completed for 61 s: down"},
        ),
        ({"draining": True}, {"drain": "stopping"}),
    ],
)
def test_conditions(
    tmp_path: Path, state: dict[str, object], changes: dict[str, str]
) -> None:
    """One look at everything: what is good is None, what is not says why."""
    assert look(tmp_path, **state) == {**GOOD, **changes}


def test_an_inbox_that_cannot_be_written_to(tmp_path: Path) -> None:
    """The inbox is tried, and what is wrong with it is told until it is mended."""
    file, elsewhere = tmp_path / "inbox", tmp_path / "elsewhere"

    async def run() -> None:
        now = [100.0]
        async with Inbox(file) as inbox:
            conditions = Readiness(inbox, clock=lambda: now[0], greeted=True)
            assert (await conditions.all())["inbox"] is None
            file.rename(elsewhere)
            # It was tried a moment ago.
            assert (await conditions.all())["inbox"] is None
            now[0] += module.PROBE_SECONDS
            assert "No such file" in str((await conditions.all())["inbox"])
            elsewhere.rename(file)
            assert (await conditions.all())["inbox"] is None

    asyncio.run(run())


def test_a_disk_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that hangs is told, and is not asked again and again."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.01)

    async def run() -> None:
        probes: list[None] = []
        free = asyncio.Event()

        async def probe(_: Inbox) -> None:
            probes.append(None)
            await free.wait()

        monkeypatch.setattr(Inbox, "probe", probe)
        async with Inbox(tmp_path / "inbox") as inbox:
            conditions = Readiness(inbox, clock=lambda: 100.0)
            for _ in range(3):
                says = (await conditions.all())["inbox"]
                assert says == "the disk gives no answer within 0.01 s"
            assert len(probes) == 1
            free.set()
            assert (await conditions.all())["inbox"] is None

    asyncio.run(run())
