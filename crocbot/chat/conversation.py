"""
One person's chat with the bot: lines become messages, the bot's messages are shown.

    enter(line) --> sandbox --> the gateway --> Outcome --> idle
                                    '-- drafts, messages --> Screen

A message is answered when the gateway has closed its row.  On a terminal a line may be
entered meanwhile; from a pipe the next line is sent when the last one is answered, and
an answer is printed at its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from crocbot.chat.files import SavedFiles, read_file
from crocbot.chat.screen import Screen
from crocbot.model import Disposition, Outcome
from crocbot.sandbox import Person, Server, messages
from crocbot.sandbox.drafts import ShownDraft
from crocbot.sandbox.messages import Content, Sent
from crocbot.sandbox.rich import shown_text
from crocbot.text import MAX_MESSAGE_UNITS, is_visible

STOP = "/stop"
FILE, PRESS = "/file", "/press"
UNANSWERED = {
    Disposition.FAILED: None,
    Disposition.SET_ASIDE: None,
    Disposition.DENIED: "not answered: this user has no access, or is over a limit",
}
NOTHING_TO_PRESS = "there is no button of this number"


class Conversation:
    """
    The chat of one person: an EventListener of the gateway.

    `failed` means that a line was not answered, or could not be sent.
    """

    def __init__(
        self, server: Server, person: Person, screen: Screen, *, saved: SavedFiles
    ) -> None:
        self._server, self._person = server, person
        self._screen, self._saved = screen, saved
        self._open_rows = 0
        self._files = 0
        self._shown: dict[int, str] = {}
        self._buttons: dict[str, tuple[Sent, str | None]] = {}
        self.idle = asyncio.Event()
        self.idle.set()
        self.failed = False
        server.listen(self._receive)
        server.listen_drafts(self._see_draft)

    def enter(self, line: str) -> None:
        """Send a line, or the file or press of a button that it asks for."""
        word, _, rest = line.strip().partition(" ")
        if word == FILE:
            self._send_file(rest)
        elif word == PRESS:
            self._press(rest)
        elif is_visible(line):
            for part in _parts(line):
                self._send(messages.text(part))

    def stop(self) -> bool:
        """Stop the answer under way; return whether there was one."""
        if self.idle.is_set():
            return False
        self._send(messages.text(STOP))
        return True

    def emit(self, event: object) -> None:
        """Note that rows were closed; all other events are not needed."""
        if not isinstance(event, Outcome):
            return
        if event.disposition in UNANSWERED:
            self.failed = True
            if remark := UNANSWERED[event.disposition]:
                self._screen.remark(remark)
        self._open_rows = max(0, self._open_rows - len(event.update_ids))
        if not self._open_rows:
            self._end_turn()

    def _end_turn(self) -> None:
        if not self._screen.interactive:
            for text in self._shown.values():
                self._screen.message(text)
        self._shown.clear()
        self._screen.interrupt()
        self._screen.prompt()
        self.idle.set()

    def _send(self, content: Content) -> None:
        self._begin_turn()
        self._server.send(self._person, content)

    def _begin_turn(self) -> None:
        self._open_rows += 1
        self.idle.clear()

    def _send_file(self, words: str) -> None:
        try:
            file = read_file(words)
        except (OSError, ValueError) as error:
            self._refuse(f"not sent: {error}")
            return
        self._files += 1
        file_id = f"chat-{self._files}"
        self._server.upload(file_id, file.content)
        self._send(file.message(file_id))

    def _press(self, number: str) -> None:
        chosen = number.strip()
        if chosen not in self._buttons:
            self._refuse(NOTHING_TO_PRESS)
            return
        sent, data = self._buttons[chosen]
        if data is None:
            self._refuse("this button opens an address, which the bot does not learn")
            return
        self._begin_turn()
        self._server.press(self._person, sent, data)

    def _refuse(self, remark: str) -> None:
        self.failed = True
        self._screen.remark(remark)
        if self.idle.is_set():
            self._screen.prompt()

    def _see_draft(self, draft: ShownDraft) -> None:
        if draft.chat.chat_id == self._person.user_id:
            self._screen.grow(draft.text)

    def _receive(self, sent: Sent) -> None:
        if sent["chat"]["id"] != self._person.user_id:
            return
        text = "\n".join(self._lines(sent))
        if self._screen.interactive and self._shown.get(sent["message_id"]) != text:
            self._screen.message(text)
        self._shown[sent["message_id"]] = text

    def _lines(self, sent: Sent) -> Iterator[str]:
        if saved := self._saved.save(sent, self._server):
            yield f"[{saved}]"
        if text := shown_text(sent):
            yield text
        rows = sent.get("reply_markup", {}).get("inline_keyboard", [])
        buttons = [button for row in rows for button in row]
        if buttons:
            self._buttons = {
                str(number): (sent, button.get("callback_data"))
                for number, button in enumerate(buttons, 1)
            }
        for number, button in enumerate(buttons, 1):
            address = f" {button['url']}" if "url" in button else ""
            yield f"[{number}] {button['text']}{address}"


def _parts(line: str) -> Iterator[str]:
    """Yield a text in parts that fit into a message, as Telegram's apps split it."""
    left = line.encode("utf-16-le", "replace")
    while left:
        end = 2 * MAX_MESSAGE_UNITS
        if len(left) > end and 0xD8 <= left[end - 1] <= 0xDB:
            # Not between the halves of a pair.
            end -= 2
        yield left[:end].decode("utf-16-le", "replace")
        left = left[end:]
