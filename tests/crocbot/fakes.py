"""Fakes that several test modules share."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from crocbot.events import Event

E = TypeVar("E", bound=Event)


class RecordedEvents(list[Event]):
    """An EventListener that is the list of what was emitted."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = asyncio.Event()

    def emit(self, event: Event) -> None:
        """Append the event, and set `changed`."""
        self.append(event)
        self.changed.set()

    async def wait_for(self, type_: type[Event]) -> None:
        """Wait until an event of this class was emitted."""
        while not self.of_type(type_):
            self.changed.clear()
            await self.changed.wait()

    def of_type(self, type_: type[E]) -> list[E]:
        """Return the events of one class, in order."""
        return [event for event in self if isinstance(event, type_)]
