"""Prices, costs, and what the answers to each person took."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot import prices, spending
from crocbot.agent_events import AgentCost
from crocbot.agents.responses import token_usage
from crocbot.limits import Limits
from crocbot.model import Usage
from crocbot.prices import PICODOLLARS, Price, PricedModel, label
from crocbot.settings.price_file import read_prices
from crocbot.spending import Spending, Spent, describe, listed, total
from crocbot.telemetry.instruments import Metric
from crocbot.turn import Accounts
from tests.crocbot.databases import Database
from tests.crocbot.fakes import FakeClocks, RecordedEvents, a_message

ADA, EVE = 7, 8
MINI = Price(input=150_000, output=600_000, cached_input=75_000)


@asynccontextmanager
async def opened(database: Database) -> AsyncIterator[Spending]:
    """Open the counts of a database, as a new process does."""
    async with database.store([spending.SCHEMA], FakeClocks()) as store:
        yield Spending(store, priced=True)


async def record(counts: Spending, person: int, usage: Usage, cost: int) -> None:
    """Count an answer."""
    await counts.store.run(counts.added(person, usage, cost))
    await counts.trim()


async def lines(counts: Spending) -> list[str]:
    """Return what `crocbot usage` prints."""

    def job(connection: Any) -> list[str]:
        whole = total(connection)
        return [describe(each, whole) for each in [*listed(connection), whole]]

    return await counts.store.run(job)


@pytest.mark.parametrize(
    ("usage", "dollars"),
    [
        (Usage(1_000_000, 0), 0.15),
        (Usage(0, 1_000_000), 0.6),
        (Usage(1_000_000, 1_000_000, 400_000), 0.6 * 0.15 + 0.4 * 0.075 + 0.6),
        (Usage(10, 0, 400), 10 * 0.075e-6),
        (Usage(), 0.0),
    ],
)
def test_cost(usage: Usage, dollars: float) -> None:
    """A cost is that of the input, of its cached part, and of the output."""
    assert MINI.cost(usage) / PICODOLLARS == pytest.approx(dollars)


def test_cost_of_a_hostile_count() -> None:
    """No count of tokens makes a cost that the database cannot add up."""
    assert MINI.cost(Usage(2**53, 2**53)) == prices.MAX_COST


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt-4o", "gpt-4o"),
        ("openai/gpt-4.1", "openai_gpt-4_1"),
        ("qwen3:8b", "qwen3_8b"),
        ("modèle é\n", "mod_le___"),
        ("x" * 100, "x" * 64),
    ],
)
def test_label(name: str, expected: str) -> None:
    """All but letters, digits, _ and - become _, and it is not too long."""
    assert label(name) == expected


@given(st.text(min_size=1))
def test_a_label_is_always_a_segment(name: str) -> None:
    """Whatever the setting is, the metric has a name."""
    from crocbot.telemetry.agent_metrics import COST

    assert isinstance(COST, Metric)
    assert COST.statsd_name(label(name)) == f"crocbot.agent.cost.{label(name)}"


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        (0, "$0.00"),
        (1, "$0.000001"),
        (12_345_600_000, "$0.012346"),
        (500_000_000_000, "$0.50"),
        (2_500_000_000_000, "$2.50"),
        (1_234_567_890_000_000, "$1,234.57"),
    ],
)
def test_dollars(cost: int, words: str) -> None:
    """What costs anything is never shown as nothing."""
    assert prices.in_words(cost) == words


def test_a_price_file(tmp_path: Path) -> None:
    """Prices are exact, also with decimal places, and cached input is optional."""
    file = tmp_path / "prices.toml"
    file.write_text(
        '["gpt-4o-mini"]\ninput = 0.15\noutput = 0.6\ncached_input = 0.075\n'
        '["openai/gpt-4.1"]\ninput = 2\noutput = 8\n'
    )

    assert read_prices(file) == {
        "gpt-4o-mini": MINI,
        "openai/gpt-4.1": Price(
            input=2_000_000, output=8_000_000, cached_input=2_000_000
        ),
    }
    assert read_prices(None) == {}


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}, (9, 4)),
        ({"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}}, (9, 4)),
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 4}, (9, 4)),
        ({"prompt_tokens": 9, "prompt_tokens_details": None}, (9, 0)),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": -4}}, (9, 0)),
        ({"prompt_tokens": 9, "prompt_tokens_details": ["x"]}, (9, 0)),
    ],
)
def test_cached_tokens(value: dict[str, Any], tokens: tuple[int, int]) -> None:
    """Servers report them in several ways."""
    (usage,) = token_usage(value)

    assert (usage.input_tokens, usage.cached_tokens) == tokens


async def test_shares(database: Database) -> None:
    """Each person's part is that of the cost; all are kept over a restart."""
    async with opened(database) as counts:
        await record(counts, ADA, Usage(10, 5), 3 * PICODOLLARS)
        await record(counts, EVE, Usage(1000, 0), PICODOLLARS)
    async with opened(database) as counts:
        await record(counts, ADA, Usage(10, 5), 0)
        spent, whole = await counts.share(ADA)
        nothing, _ = await counts.share(9)
        found = await lines(counts)

    assert spent == Spent(
        person=ADA, answers=2, usage=Usage(20, 10), cost=3 * PICODOLLARS
    )
    assert spent.part_of(whole) == 0.75
    assert nothing == Spent(person=9)
    assert found == [
        "user 7  2 answers, 30 tokens (in 20, out 10), $3.00  75.0 %",
        "user 8  1 answer, 1000 tokens (in 1000, out 0), $1.00  25.0 %",
        "all  3 answers, 1030 tokens (in 1020, out 10), $4.00  100.0 %",
    ]


async def test_shares_without_prices(database: Database) -> None:
    """They are those of the tokens; an agent that counts none says so."""
    async with opened(database) as counts:
        await record(counts, ADA, Usage(10, 20), 0)
        await record(counts, EVE, Usage(), 0)
        found = await lines(counts)

    assert found[0] == "user 7  1 answer, 30 tokens (in 10, out 20), $0.00  100.0 %"
    assert found[1] == (
        "user 8  1 answer, tokens not counted by the agent, $0.00  0.0 %"
    )


async def test_the_table_is_bounded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those whose last answer is the longest ago are added up; the sum stays right."""
    monkeypatch.setattr(spending, "MAX_PERSONS", 20)
    monkeypatch.setattr(spending, "TRIM_EVERY", 5)
    async with opened(database) as counts:
        for person in range(1, 101):
            await record(counts, person, Usage(1, 1), 7)
            await record(counts, 1, Usage(1, 0), 1)
        _, whole = await counts.share(1)
        kept = await counts.store.run(lambda each: list(listed(each)))

    assert (whole.cost, whole.answers) == (800, 200)
    assert len(kept) <= 20 + 6
    persons = {each.person for each in kept}
    assert {0, 1, 100} <= persons
    assert 2 not in persons


async def test_sums_beyond_an_integer(database: Database) -> None:
    """Costs and tokens that no one can pay for do not break the page."""
    async with opened(database) as counts:
        for person in (ADA, EVE):
            for _ in range(3):
                await record(counts, person, Usage(2**62, 2**62), 2**62)
        spent, whole = await counts.share(ADA)

    assert spent.cost == spending.MAX_SUM
    assert whole.cost == 2 * spending.MAX_SUM


def accounts(events: RecordedEvents) -> Accounts:
    """Return the accounts of two models, of which the second has no price."""
    store: Any = None
    return Accounts(
        limits=Limits(store, {}),
        spending=Spending(store),
        models=(PricedModel("mini", MINI), PricedModel("local", None)),
        events=events,
    )


async def test_accounts() -> None:
    """The cost is that of each model's price; the event has its label."""
    events = RecordedEvents()
    both = accounts(events)
    both.start()
    usages = [Usage(1_000_000, 0), Usage(5, 5)]
    counts = both.counts(a_message(), usages, answered=True)

    assert counts == [Spending.added(7, Usage(1_000_005, 5), 150_000_000_000)]
    assert events.of_type(AgentCost) == [
        AgentCost("mini", 0.0),
        AgentCost("mini", 0.15),
    ]


@pytest.mark.parametrize(
    ("usage", "answered", "count"),
    [
        # Like the answers of the chat that /usage shows, with prices and without.
        (Usage(), True, 1),
        (Usage(), False, 0),
        (Usage(3, 0), False, 1),
    ],
)
async def test_what_counts_as_an_answer(
    usage: Usage, answered: bool, count: int
) -> None:
    """Each answer does; one that failed or was stopped only if it took tokens."""
    both = accounts(RecordedEvents())

    assert len(both.counts(a_message(), [usage], answered=answered)) == count
