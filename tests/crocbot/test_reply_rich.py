"""Which answers are sent as rich messages, and what Telegram gets of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot.reply.rich import MAX_RICH_UNITS, fits_rich, needs_rich, rich_markdown

TABLE = "| a | b |\n|---|:-:|\n| 1 | 2 |"
WIDE = "\n".join(["|".join("x" * 21), "|".join(["-"] * 21)])


@pytest.mark.parametrize(
    ("text", "needs", "fits"),
    [
        ("plain **bold** `code` [link](https://example.org)", False, True),
        ("# Title\n\n- one\n- two\n\n> quote", False, True),
        ("text\n---\nmore", False, True),
        ("it costs $5, or US$ 6", False, True),
        (f"before\n\n{TABLE}\n\nafter", True, True),
        ("a | b\n--- | ---\n1 | 2", True, True),
        (f"```\n{TABLE}\n```", False, True),
        (f"~~~\n```\n{TABLE}\n~~~", False, True),
        (f"```\ncode\n```\n{TABLE}", True, True),
        (r"the root \(\sqrt{x}\) of x", True, True),
        (r"the root `\(\sqrt{x}\)` of x", False, True),
        ("$$x^2$$", True, True),
        ("word " * 900, True, True),
        ("🐊" * 2048, False, True),
        ("🐊" * 2049, True, True),
        ("x" * MAX_RICH_UNITS, True, True),
        ("x" * (MAX_RICH_UNITS + 1), True, False),
        ("x\n\n" * 501, False, False),
        (WIDE, True, False),
    ],
)
def test_needs_and_fits(text: str, needs: bool, fits: bool) -> None:
    """Tables, formulas and long texts need one; Telegram's limits are kept."""
    assert (needs_rich(text), fits_rich(text)) == (needs, fits)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        (r"the root \( \sqrt{x} \) of x", r"the root $\sqrt{x}$ of x"),
        ("\\[\nx^2\n\\]", "$$\nx^2\n$$"),
        ("$$x$$ and $y$", "$$x$$ and $y$"),
        (r"\begin{align}x\end{align}", r"$$\begin{align}x\end{align}$$"),
        (r"`\(x\)`", r"`\(x\)`"),
        (TABLE, TABLE),
    ],
)
def test_formulas(text: str, sent: str) -> None:
    """They are sent between dollar signs, which Telegram's Markdown has."""
    assert rich_markdown(text) == sent


@given(st.text(alphabet="ab |-:`~$\\()[]\n", max_size=200))
def test_any_text(text: str) -> None:
    """No text raises, and none loses a letter."""
    needs_rich(text)
    fits_rich(text)
    sent = rich_markdown(text)
    assert [char for char in sent if char in "ab|"] == [
        char for char in text if char in "ab|"
    ]
