"""
What the answers to each person took: tokens and costs, for /usage and `crocbot usage`.

    added(person, usage, cost) --> share(person) --> their part of all

- Counted for as long as the file exists, in picodollars (`prices.py`).
- At most MAX_PERSONS are kept apart; of those whose last answer is the longest ago, the
  counts are added up as OTHERS, so that the total stays right.
- The changes survive the end of the process, not a power cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from crocbot import prices
from crocbot.model import Usage
from crocbot.store import Connection, Store, Write

# Each takes about 100 bytes with its index: 10 MB.
MAX_PERSONS = 100_000
TRIM_EVERY = 500
# Of a process: its first messages cost no more than later ones.
FIRST_TRIM = 50
OTHERS = 0
"""The key of all persons that are not kept apart; no one has this id."""

NO_USAGE = Usage()
# More than all sums of these can be; an integer of a database ends at 9.2e18.
MAX_SUM = 9 * 10**18

# `last` is the order of the persons' last answers.
SCHEMA = """
CREATE TABLE IF NOT EXISTS spending (
    person        INTEGER PRIMARY KEY,
    answers       INTEGER NOT NULL,
    input_tokens  INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cost          INTEGER NOT NULL,
    last          INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS spending_by_last ON spending (last)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What the answers to a person took; `cost` is in picodollars."""

    person: int
    answers: int = 0
    usage: Usage = NO_USAGE
    cost: int = 0

    def part_of(self, total: Spent) -> float:
        """Return the share of the cost, or of the tokens if nothing cost anything."""
        if total.cost:
            return self.cost / total.cost
        return self.tokens / total.tokens if total.tokens else 0.0

    @property
    def tokens(self) -> int:
        """Return the tokens of input and output together."""
        return self.usage.input_tokens + self.usage.output_tokens


@dataclass(slots=True)
class Spending:
    """
    The counts in the file of `store`, which has SCHEMA.  Raises StoreError.

    `priced` means that there are prices, so that /usage shows a cost.
    """

    store: Store
    priced: bool = False
    _until_trim: int = field(default=FIRST_TRIM, init=False)

    @staticmethod
    def added(person: int, usage: Usage, cost: int) -> Write:
        """Return what adds an answer to a person; `trim` is called after it."""
        return _added(Spent(person=person, answers=1, usage=usage, cost=cost))

    async def trim(self) -> None:
        """Bound the number of persons, after every TRIM_EVERY answers."""
        self._until_trim -= 1
        if self._until_trim <= 0:
            self._until_trim = TRIM_EVERY
            await self.store.run(_trim, durable=False)

    async def share(self, person: int) -> tuple[Spent, Spent]:
        """Return what a person took, and what all together took."""

        def job(connection: Connection) -> tuple[Spent, Spent]:
            found = next(_rows(connection, person), Spent(person=person))
            return found, total(connection)

        return await self.store.run(job, write=False)


def total(connection: Connection) -> Spent:
    """Return what all persons together took."""
    found = connection.execute(
        # Sums of integers may be more than an integer of SQLite: of costs in two parts,
        # of tokens as a floating-point number.
        "SELECT sum(answers * 1.0), sum(input_tokens * 1.0), sum(output_tokens * 1.0),"
        " sum(cost / 1000000), sum(cost % 1000000) FROM spending"
    ).fetchone()
    answers, tokens_in, tokens_out, millions, rest = (int(each or 0) for each in found)
    cost = millions * 1_000_000 + rest
    return Spent(
        person=OTHERS, answers=answers, usage=Usage(tokens_in, tokens_out), cost=cost
    )


def listed(connection: Connection) -> Iterator[Spent]:
    """Yield what each person took, the greatest cost first, then the most tokens."""
    yield from _rows(connection)


def describe(spent: Spent, whole: Spent) -> str:
    """Return one line about a person's share, for the operator."""
    name = f"user {spent.person}"
    if spent.person == OTHERS:
        name = "all" if spent is whole else "others"
    elif spent.person < 0:
        name = f"chat {spent.person}"
    return f"{name}  {in_words(spent)}  {100 * spent.part_of(whole):.1f} %"


def in_words(spent: Spent, *, priced: bool = True) -> str:
    """
    Return what answers took.

        3 answers, 42 tokens (in 12, out 30), $0.0021
    """
    tokens_in, tokens_out = spent.usage.input_tokens, spent.usage.output_tokens
    all_tokens = tokens_in + tokens_out
    tokens = f"{all_tokens} tokens (in {tokens_in}, out {tokens_out})"
    cost = f", {prices.in_words(spent.cost)}" if priced else ""
    if not all_tokens:
        tokens = "tokens not counted by the agent"
    noun = "answer" if spent.answers == 1 else "answers"
    return f"{spent.answers} {noun}, {tokens}{cost}"


def _rows(connection: Connection, person: int | None = None) -> Iterator[Spent]:
    found = connection.execute(
        "SELECT person, answers, input_tokens, output_tokens, cost FROM spending"
        " WHERE person = coalesce(?, person)"
        " ORDER BY cost DESC, input_tokens * 1.0 + output_tokens DESC, person",
        (person,),
    )
    for who, answers, tokens_in, tokens_out, cost in found:
        usage = Usage(tokens_in, tokens_out)
        yield Spent(person=who, answers=answers, usage=usage, cost=cost)


def _added(spent: Spent) -> Write:
    return Write(
        statement=ADD,
        values={
            "spender": spent.person,
            "spent_answers": spent.answers,
            "spent_input": spent.usage.input_tokens,
            "spent_output": spent.usage.output_tokens,
            "spent_cost": spent.cost,
        },
    )


def _sum(column: str) -> str:
    """Return SQL for a column and what is added to it, at most MAX_SUM."""
    return (
        f"CASE WHEN spending.{column} < {MAX_SUM} - excluded.{column}"
        f" THEN spending.{column} + excluded.{column} ELSE {MAX_SUM} END"
    )


ADD = (
    "INSERT INTO spending SELECT :spender, :spent_answers, :spent_input,"  # noqa: S608
    " :spent_output, :spent_cost, coalesce(max(last), 0) + 1"
    " FROM spending WHERE true ON CONFLICT (person) DO UPDATE SET"
    " answers = spending.answers + excluded.answers,"
    f" input_tokens = {_sum('input_tokens')},"
    f" output_tokens = {_sum('output_tokens')},"
    f" cost = {_sum('cost')}, last = excluded.last"
)


def _trim(connection: Connection) -> None:
    """Add up the persons beyond the bound as OTHERS."""
    (count,) = connection.execute("SELECT count(*) FROM spending").fetchone()
    if count <= MAX_PERSONS:
        return
    oldest = connection.execute(
        "SELECT person, answers, input_tokens, output_tokens, cost FROM spending"
        " WHERE person != ? ORDER BY last LIMIT ?",
        (OTHERS, count - MAX_PERSONS),
    ).fetchall()
    for person, answers, tokens_in, tokens_out, cost in oldest:
        usage = Usage(tokens_in, tokens_out)
        _added(Spent(person=OTHERS, answers=answers, usage=usage, cost=cost))(
            connection
        )
        connection.execute("DELETE FROM spending WHERE person = ?", (person,))
