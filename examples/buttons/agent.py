"""Ask with buttons, and answer a pressed one with a file."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator

from crocbot.agents import AnswerFile, Button, Buttons, Piece, Question

SALES = {"may": [("tea", 12), ("coffee", 30)], "june": [("tea", 25), ("coffee", 21)]}


async def answer(question: Question) -> AsyncIterator[Piece]:
    """Offer the months, then send the table of the one that was chosen."""
    if question.button is None:
        yield "Which month?"
        buttons = [Button(month.title(), data=month) for month in SALES]
        yield Buttons([buttons, [Button("About", url="https://example.org/")]])
        return
    month = question.button.data
    rows = SALES.get(month, [])
    yield f"**{month.title()}**: {sum(count for _, count in rows)} cups"
    table = io.StringIO()
    csv.writer(table).writerows([("drink", "cups"), *rows])
    content = table.getvalue().encode()
    yield AnswerFile(content=content, name=f"{month}.csv", caption="all of them")
