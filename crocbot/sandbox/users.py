"""
Simulated users: each writes to the bot, waits for the answers and checks them.

    Ada:   "/start"   "See you later"       [photo]   ...
              |              |                 |
    answers: any       the same text      the caption      in this order

A user writes one to three messages, waits until all are answered, pauses, and goes on.
An answer belongs to the oldest message that has none; a wrong answer is a mistake, and
so is one to no message.  A user who waits longer than the timeout stops writing.

Of an agent whose answers are not known only that it answers is checked: users write one
message at a time, and further messages of the bot are a part of the answer.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from random import Random

from crocbot.sandbox import messages
from crocbot.sandbox.drafts import ShownDraft
from crocbot.sandbox.messages import Content, Person, Sent
from crocbot.sandbox.rich import shown_text
from crocbot.sandbox.server import Server
from crocbot.sandbox.terminal import Terminal

MAX_MISTAKES = 100
ANSWER_TIMEOUT_SECONDS = 90.0
# A model may be slow, and its own timeout is what counts.
AGENT_TIMEOUT_SECONDS = 900.0
PAUSE_SECONDS = (0.3, 3.0)

PEOPLE = (
    Person(1001, "Ada", "ada"),
    Person(1002, "Grace", "grace"),
    Person(1003, "Linus"),
    Person(1004, "Margaret", "margaret"),
    Person(1005, "Дмитрий"),
)
TEXTS = (
    "Good morning!",
    "Is anybody there?",
    "What is the difference between a crocodile and an alligator?",
    "See you later 🐊",
    "Привет, как дела?",
    "こんにちは",
    "1 < 2 && *not* _markdown_ `at all`",
    "two lines\nin one message",
    "👩‍👩‍👧‍👦 is one emoji and eleven units",
)
CAPTIONS = ("Look at this one", "My lunch", "Which way?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedMessage:
    """
    A message and its right answer: `answer` itself, or if not `exact` what contains it.

    `type` is text, media or command, `text` how a terminal shows the message.
    """

    type: str
    text: str
    content: Content
    answer: str
    exact: bool = True

    def accepts(self, answer: str) -> bool:
        """Return whether an answer is right."""
        return answer == self.answer if self.exact else self.answer in answer


def text(text: str) -> ScriptedMessage:
    """Return a text; the same text is right."""
    content = messages.text(text)
    return ScriptedMessage(type="text", text=text, content=content, answer=text)


def photo(caption: str) -> ScriptedMessage:
    """Return a photo; its caption is right."""
    return ScriptedMessage(
        type="media",
        text=f"[photo] {caption}",
        content=messages.photo(caption),
        answer=caption,
    )


def sticker() -> ScriptedMessage:
    """Return a sticker; an answer that names it is right."""
    return ScriptedMessage(
        type="media",
        text="[sticker]",
        content=messages.sticker(),
        answer="sticker",
        exact=False,
    )


def voice() -> ScriptedMessage:
    """Return a voice message; an answer that names it is right."""
    return ScriptedMessage(
        type="media",
        text="[voice message]",
        content=messages.voice(),
        answer="voice",
        exact=False,
    )


def command(name: str, part: str) -> ScriptedMessage:
    """Return a command; an answer that contains this part is right."""
    return ScriptedMessage(
        type="command",
        text=f"/{name}",
        content=messages.text(f"/{name}"),
        answer=part,
        exact=False,
    )


def script(
    person: Person, random: Random, *, voices: bool = False
) -> Iterator[ScriptedMessage]:
    """
    Yield the messages of one user, endlessly; the first three have each type.

    Voice messages are for agents that take files.
    """
    media = (sticker(), voice()) if voices else (sticker(),)
    yield command("start", "")
    yield text(random.choice(TEXTS))
    yield sticker()
    while True:
        choices = (
            text(random.choice(TEXTS)),
            photo(random.choice(CAPTIONS)),
            random.choice(media),
            command("help", "/whoami"),
            command("whoami", str(person.user_id)),
        )
        yield from random.choices(choices, weights=(6, 2, 1, 1, 1))


class SimulatedUser:
    """
    One user of a server; a terminal shows the messages.

    `sent` and `answered` count messages by type, `drafts` what was shown of answers
    before; `mistakes` has a sentence for each.
    """

    def __init__(
        self,
        person: Person,
        server: Server,
        terminal: Terminal | None = None,
        *,
        known_answers: bool = True,
    ) -> None:
        self.person = person
        self._known_answers = known_answers
        self.sent: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.drafts = 0
        self.mistakes: deque[str] = deque(maxlen=MAX_MISTAKES)
        self._server = server
        self._terminal = terminal
        self._unanswered: deque[ScriptedMessage] = deque()
        self._all_answered = asyncio.Event()

    def send(self, message: ScriptedMessage) -> None:
        """Send a message to the bot."""
        self._unanswered.append(message)
        self._all_answered.clear()
        self.sent[message.type] += 1
        self._show(self.person.first_name, "bot", message.text)
        self._server.send(self.person, message.content)

    def see_draft(self, draft: str) -> None:
        """Show a draft; it is no answer yet."""
        self.drafts += 1
        self._show("bot", f"{self.person.first_name} (draft)", draft)

    def receive(self, answer: str) -> None:
        """Check an answer of the bot."""
        name = self.person.first_name
        self._show("bot", name, answer)
        if not self._unanswered:
            if self._known_answers:
                self.mistakes.append(f"{name} got {answer!r} without a question")
            return
        message = self._unanswered.popleft()
        self.answered[message.type] += 1
        if self._known_answers and not message.accepts(answer):
            self.mistakes.append(f"{name} wrote {message.text!r} and got {answer!r}")
        if not self._unanswered:
            self._all_answered.set()

    def _show(self, sender: str, recipient: str, text: str) -> None:
        if self._terminal is not None:
            self._terminal.message(sender, recipient, text)

    async def wait_answered(self, timeout: float | None = None) -> bool:
        """Wait for all answers; return whether they came within the timeout."""
        if not self._unanswered:
            return True
        if timeout is None:
            known = self._known_answers
            timeout = ANSWER_TIMEOUT_SECONDS if known else AGENT_TIMEOUT_SECONDS
        try:
            async with asyncio.timeout(timeout):
                await self._all_answered.wait()
        except TimeoutError:
            self.mistakes.append(
                f"{self.person.first_name} has no answer to"
                f" {self._unanswered[0].text!r} after {timeout:g} s"
            )
            return False
        return True

    async def converse(
        self,
        script: Iterator[ScriptedMessage],
        stop: asyncio.Event,
        random: Random,
        *,
        pause_seconds: tuple[float, float] = PAUSE_SECONDS,
    ) -> None:
        """Write and wait until the script ends, an answer is late, or `stop` is set."""
        most = 3 if self._known_answers else 1
        while burst := list(islice(script, random.randint(1, most))):
            for message in burst:
                self.send(message)
            if not await self.wait_answered():
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(*pause_seconds)):
                    await stop.wait()
                return


class Users:
    """Several users of one server."""

    def __init__(
        self,
        people: Sequence[Person],
        server: Server,
        terminal: Terminal | None = None,
        *,
        known_answers: bool = True,
    ) -> None:
        self._known_answers = known_answers
        self.members = [
            SimulatedUser(person, server, terminal, known_answers=known_answers)
            for person in people
        ]
        self._by_chat = {user.person.user_id: user for user in self.members}
        server.listen(self.receive)
        server.listen_drafts(self.see_draft)

    def receive(self, sent: Sent) -> None:
        """Give a Message of the bot to the user in whose chat it is, if any."""
        if "edit_date" in sent and not self._known_answers:
            return
        user = self._by_chat.get(sent["chat"]["id"])
        if user is not None:
            user.receive(shown_text(sent))

    def see_draft(self, draft: ShownDraft) -> None:
        """Give a draft to the user in whose chat it is, if any."""
        user = self._by_chat.get(draft.chat.chat_id)
        if user is not None:
            user.see_draft(draft.text)

    @property
    def sent(self) -> Counter[str]:
        """Return the messages sent, by type."""
        return sum((user.sent for user in self.members), Counter())

    @property
    def answered(self) -> Counter[str]:
        """Return the messages answered, by type."""
        return sum((user.answered for user in self.members), Counter())

    @property
    def mistakes(self) -> list[str]:
        """Return the mistakes, user by user."""
        return [mistake for user in self.members for mistake in user.mistakes]

    async def converse(self, stop: asyncio.Event, random: Random) -> None:
        """Let all users write, each at their own pace, until `stop` is set."""
        async with asyncio.TaskGroup() as group:
            for user in self.members:
                messages = script(user.person, random, voices=not self._known_answers)
                group.create_task(user.converse(messages, stop, random))
