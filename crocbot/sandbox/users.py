"""
Simulated people: each writes to the bot, waits for the answers and judges them.

    Ada:   "/start"   "Is anybody there?"   [photo]   ...
              |              |                 |
    answers: any      the same words      the caption      in this order

A person writes one to three lines at a time, waits until all are answered, thinks, and
goes on.  An answer belongs to the oldest line that has none; one that does not fit it
is a mistake, and so is one that nobody waits for.  Whom the bot keeps waiting longer
than his patience stops writing.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice, repeat
from random import Random

from crocbot.sandbox import messages
from crocbot.sandbox.messages import Content, Person, Sent

MOST_MISTAKES = 100
PATIENCE = 30.0
THOUGHT = (0.3, 3.0)

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


@dataclass(frozen=True, slots=True)
class Line:
    """
    Something to say, and what a right answer says.

    `shown` is how it looks on a terminal; `kind` is text, media or command.
    """

    kind: str
    shown: str
    content: Content
    fits: Callable[[str], bool]


def text(words: str) -> Line:
    """A text; its echo is the same text."""
    return Line("text", words, messages.text(words), words.__eq__)


def photo(caption: str) -> Line:
    """A photo; the echo of its caption is right."""
    content = messages.photo(caption)
    return Line("media", f"[photo] {caption}", content, caption.__eq__)


def sticker() -> Line:
    """A sticker; a right answer names it."""
    content = messages.sticker()
    return Line("media", "[sticker]", content, lambda answer: "sticker" in answer)


def command(name: str, says: str) -> Line:
    """A command; a right answer says this among other things."""
    words = f"/{name}"
    return Line("command", words, messages.text(words), lambda answer: says in answer)


def script(person: Person, random: Random) -> Iterator[Line]:
    """What one person says, without end; the first lines have one of every kind."""
    own_id = str(person.user_id)
    opening = [command("start", ""), text(random.choice(TEXTS)), sticker()]
    makers: Sequence[tuple[int, Callable[[], Line]]] = (
        (6, lambda: text(random.choice(TEXTS))),
        (2, lambda: photo(random.choice(CAPTIONS))),
        (1, sticker),
        (1, lambda: command("help", "/whoami")),
        (1, lambda: command("whoami", own_id)),
    )
    weights = [weight for weight, _ in makers]
    choices = (random.choices(makers, weights)[0] for _ in repeat(None))
    return chain(opening, (make() for _, make in choices))


class SimulatedUser:
    """
    One simulated person.

    `say` brings a line to the bot; `overhear` is told who says what to whom.
    `sent` and `answered` count lines by kind; `mistakes` tells what went wrong.
    """

    def __init__(
        self,
        person: Person,
        say: Callable[[Person, Content], object],
        overhear: Callable[[str, str, str], None],
    ) -> None:
        self.person = person
        self.sent: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.mistakes: deque[str] = deque(maxlen=MOST_MISTAKES)
        self._say = say
        self._overhear = overhear
        self._waiting: deque[Line] = deque()
        self._all_answered = asyncio.Event()

    def send(self, line: Line) -> None:
        """Write a line."""
        self._waiting.append(line)
        self._all_answered.clear()
        self.sent[line.kind] += 1
        self._overhear(self.person.first_name, "bot", line.shown)
        self._say(self.person, line.content)

    def receive(self, answer: str) -> None:
        """Take what the bot says."""
        name = self.person.first_name
        self._overhear("bot", name, answer)
        if not self._waiting:
            self.mistakes.append(f"{name} did not ask and was told {answer!r}")
            return
        line = self._waiting.popleft()
        self.answered[line.kind] += 1
        if not line.fits(answer):
            self.mistakes.append(f"{name} wrote {line.shown!r} and was told {answer!r}")
        if not self._waiting:
            self._all_answered.set()

    async def wait_answered(self, patience: float = PATIENCE) -> bool:
        """Wait until nothing is open; tells whether it was worth the wait."""
        if not self._waiting:
            return True
        try:
            await asyncio.wait_for(self._all_answered.wait(), patience)
        except TimeoutError:
            first = self._waiting[0].shown
            self.mistakes.append(
                f"{self.person.first_name} has no answer to {first!r}"
                f" after {patience:g} s"
            )
            return False
        return True

    async def converse(
        self,
        lines: Iterator[Line],
        stop: asyncio.Event,
        random: Random,
        thought: tuple[float, float] = THOUGHT,
    ) -> None:
        """Write and wait, until out of lines or of patience, or asked to stop."""
        while burst := list(islice(lines, random.randint(1, 3))):
            for line in burst:
                self.send(line)
            if not await self.wait_answered():
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), random.uniform(*thought))
                return


class Users:
    """Several people at once; hears for all of them."""

    def __init__(
        self,
        people: Sequence[Person],
        say: Callable[[Person, Content], object],
        overhear: Callable[[str, str, str], None],
    ) -> None:
        self.members = [SimulatedUser(person, say, overhear) for person in people]
        self._by_chat = {talker.person.user_id: talker for talker in self.members}

    def receive(self, sent: Sent) -> None:
        """Bring a Message of the bot to whom it is for."""
        talker = self._by_chat.get(sent["chat"]["id"])
        if talker is not None:
            talker.receive(sent["text"])

    @property
    def sent(self) -> Counter[str]:
        """Lines written, by kind."""
        return sum((talker.sent for talker in self.members), Counter())

    @property
    def answered(self) -> Counter[str]:
        """Lines answered, by kind."""
        return sum((talker.answered for talker in self.members), Counter())

    @property
    def mistakes(self) -> list[str]:
        """What went wrong, person by person."""
        return [mistake for talker in self.members for mistake in talker.mistakes]

    async def converse(self, stop: asyncio.Event, random: Random) -> None:
        """Let everybody talk, each in his own pace, until asked to stop."""
        async with asyncio.TaskGroup() as group:
            for talker in self.members:
                lines = script(talker.person, random)
                group.create_task(talker.converse(lines, stop, random))
