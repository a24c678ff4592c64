"""
The drafts that private chats show: what a bot has written of an answer so far.

    show(chat, draft) --> current(chat) --> 30 s later, or after a message: None
                          stop(chat)    --> the update of the Stop button

A draft is no message: it has no id, and nothing of it stays in the chat.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from crocbot.model import Clock
from crocbot.sandbox.messages import Chat

SHOWN_SECONDS = 30.0
MAX_DRAFTS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownDraft:
    """A draft as a chat shows it since `shown_at`."""

    chat: Chat
    draft_id: int
    text: str
    thread_id: int = 0
    can_stop: bool = False
    keep_on_stop: bool = False
    shown_at: float = 0.0


DraftListener = Callable[[ShownDraft], None]
"""Is called with each draft that the bot shows or changes."""


class Drafts:
    """The drafts of all chats, one for each topic."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._drafts: OrderedDict[tuple[int, int], ShownDraft] = OrderedDict()
        self._listeners: list[DraftListener] = []

    def listen(self, listener: DraftListener) -> None:
        """Add a listener."""
        self._listeners.append(listener)

    def show(self, draft: ShownDraft) -> None:
        """Show a draft in place of the last one."""
        key = draft.chat.chat_id, draft.thread_id
        self._drafts[key] = draft
        self._drafts.move_to_end(key)
        while len(self._drafts) > MAX_DRAFTS:
            self._drafts.popitem(last=False)
        for listener in self._listeners:
            listener(draft)

    def current(self, chat_id: int, thread_id: int = 0) -> ShownDraft | None:
        """Return the draft that a chat shows."""
        draft = self._drafts.get((chat_id, thread_id))
        if draft is None or self._clock() - draft.shown_at > SHOWN_SECONDS:
            return None
        return draft

    def remove(self, chat_id: int, thread_id: int = 0) -> None:
        """Show no draft any more, because the bot has sent a message."""
        self._drafts.pop((chat_id, thread_id), None)

    def stop(self, chat_id: int, thread_id: int = 0) -> Mapping[str, Any]:
        """Press the button below a draft; return the update.  Raise ValueError."""
        draft = self.current(chat_id, thread_id)
        if draft is None or not draft.can_stop:
            raise ValueError(f"chat {chat_id} shows no draft with a Stop button")
        if not draft.keep_on_stop:
            self.remove(chat_id, thread_id)
        topic = {"message_thread_id": thread_id} if thread_id else {}
        stopped = {"chat": draft.chat.as_chat(), "draft_id": draft.draft_id}
        return {"stopped_message_generation": stopped | topic}
