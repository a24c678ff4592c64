"""Markdown to text and entities: no visible character is lost."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crocbot.content import Entity
from crocbot.reply import formulas
from crocbot.reply.markdown import Block, blocks
from crocbot.text import replace_lone_surrogates, utf16_length

CROC = "🐊"


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("plain", Block("plain")),
        ("a **b** c", Block("a b c", (Entity("bold", 2, 1),))),
        (f"{CROC} *b*", Block(f"{CROC} b", (Entity("italic", 3, 1),))),
        ("`a < b`", Block("a < b", (Entity("code", 0, 5),))),
        (
            "[x](https://y/z)",
            Block("x", (Entity("text_link", 0, 1, url="https://y/z"),)),
        ),
        (
            "![x](https://y/z)",
            Block("x", (Entity("text_link", 0, 1, url="https://y/z"),)),
        ),
        (
            "```py\na <b>\n\n$x$\n```",
            Block("a <b>\n\n$x$", (Entity("pre", 0, 10, url=None, language="py"),)),
        ),
        ("```\nnever closed", Block("never closed", (Entity("pre", 0, 12),))),
        (
            "# Title",
            Block("Title", (Entity("underline", 0, 5), Entity("bold", 0, 5))),
        ),
        ("- a\n- b", Block("• a\n• b\n")),
        ("1. a\n1. b", Block("1. a\n2. b\n")),
        ("- [x] a\n- [ ] b", Block("☑ a\n☐ b\n")),
        ("**1. One**", Block("1. One", (Entity("bold", 0, 6),))),
        ("> a", Block("a", (Entity("blockquote", 0, 1),))),
        ("AT&amp;T", Block("AT&T")),
        (
            "Title\n-----------------------",
            Block("Title", (Entity("underline", 0, 5), Entity("bold", 0, 5))),
        ),
    ],
)
def test_formatting(text: str, block: Block) -> None:
    """Markdown becomes text with Telegram's entities."""
    assert list(blocks(text)) == [Block(block.text, block.entities, 1)]


@pytest.mark.parametrize(
    "text",
    [
        "1 < 2 and 3 > 2 && <b>bold</b>",
        "<div>an HTML block</div>",
        "It costs $5, or $10 for two.",
        "a || b || c",
        "A note[^1].",
        "[^1]: The note.",
        "[a link][1]",
        "[1]: https://example.com",
        "[a file](docs/a.md)",
        '[x](https://y "a title")',
        "![](https://y/z.png)",
        "<!-- a comment -->",
        "snake_case_name and 2 * 3 * 4",
        "~5 to ~10",
        "&lt;",
    ],
)
def test_what_would_be_lost(text: str) -> None:
    """Text that Markdown hides, or Telegram cannot show, stays as it was written."""
    shown = "".join(block.text for block in blocks(text))

    assert shown in (text, text.replace("&lt;", "<"))


@pytest.mark.parametrize(
    "formula",
    [
        r"\[ \int x \, dx \]",
        "\\[\n\\int x \\, dx\n\\]",
        "\\[\na \\; b\n\nc \\! d\n\\]",
        r"\(x_1 \cdot x_2 \, y\)",
        r"$$ \frac{a}{b} \, c $$",
        "$$\na_1 \\, a_2\n\n$$",
        r"$a_1 \, b_1$",
        r"$\$5$",
        r"\begin{align*} a_1 &= b \\ c &= \{d\} \end{align*}",
        "\\begin{cases}\n\n\\{ \\;\n\\end{cases}",
        f"\\({CROC}_1\\)",
    ],
)
@pytest.mark.parametrize(
    "text", ["{}", "{} **x**", "**x** is {}", "- {}", "> a {}", "**{}**", "{0} or {0}"]
)
def test_formulas(formula: str, text: str) -> None:
    """A formula is shown as it was written, and what is around it is formatted."""
    if "\n" in formula and text != "{}":
        text = "Text:\n\n{}\n\n**x**"
    found = list(blocks(text.format(*[formula] * 2)))
    shown = "\n".join(block.text for block in found)

    assert formula in shown
    assert not re.search(r"\*\*|[\ue000-\uf8ff]", shown.replace(formula, ""))
    for block in found:
        for one in block.entities:
            assert one.offset + one.length <= utf16_length(block.text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("It costs $5 **or** $10.", "It costs $5 or $10."),
        ("US$5 **and** CA$6", "US$5 and CA$6"),
        ("`\\[` **and** `\\]`", "\\[ and \\]"),
        (r"\*not italic\*", "*not italic*"),
        (r"\\[x\\]", r"\[x\]"),
        (r"[x](https://y/a_\(b\)) **z**", "x z"),
        ("\\( **never** closed", "( never closed"),
        ("$$ **never** closed", "$$ never closed"),
        ("a ` **never** closed", "a ` never closed"),
        ("\\[\n**never**\n\nclosed", "[\nnever\nclosed"),
    ],
)
def test_what_is_no_formula(text: str, shown: str) -> None:
    """Prices, code, links and formulas without an end are Markdown like the rest."""
    assert "\n".join(block.text for block in blocks(text)) == shown


@pytest.mark.parametrize(
    "text",
    ["\\[", "$", "\\(a\\)", "`a", "`a`", "\\begin{a}", "$a ", "](", "\\[\n", "$x$ "],
)
def test_the_time_of_formulas_is_linear(text: str) -> None:
    """However many formulas begin, each closing is searched for once."""
    many = text * (20_000 // len(text))

    # Quadratic, each of these would take minutes.
    assert sum(1 for _ in formulas.find(many)) <= len(many)
    assert len(formulas.closing_lines(many.split("\n"))) <= len(many)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\n \n", []),
        ("a\nb", [("a\nb", 1)]),
        ("a\n\nb\n\n\n\nc", [("a", 1), ("b", 2), ("c", 2)]),
        ("a\n```\nb\n\nc\n```\nd", [("a", 1), ("b\n\nc", 1), ("d", 1)]),
        ("~~~\na\n```\n~~~\nb", [("a\n```", 1), ("b", 1)]),
        ("- a\n\n  more\n\nb", [("• a\nmore\n", 1), ("b", 2)]),
        ("    indented", [("    indented", 1)]),
        ("a\r\n\r\nb", [("a", 1), ("b", 2)]),
    ],
)
def test_blocks(text: str, expected: list[tuple[str, int]]) -> None:
    """A text is split at blank lines and around code, and not within code."""
    found = [(block.text.strip(), block.newlines) for block in blocks(text)]

    assert found == [(part.strip(), newlines) for part, newlines in expected]


@pytest.mark.parametrize("text", ["1. " * 20_000, "> " * 20_000, "+ " * 20_000])
def test_deep_nesting(text: str) -> None:
    """Thousands of nested lists or quotes stay as they were written."""
    assert [block.text for block in blocks(text)] == [text]


MARKUP = """
    ** * _ ` ``` ~~ ~~~ || [ ]( ) ](http://x/ --- <b> </b> <!-- --> <br/> &lt; &amp;
    $ $$ \\( \\) \\[ \\] \\ \\begin{a} \\end{a} [^1] [1]:http://x ![ word Wörter 你好
"""
FAMILY = "\N{WOMAN}\u200d\N{WOMAN}\u200d\N{GIRL}"
SNIPPETS = st.sampled_from(
    [
        *MARKUP.split(),
        *("# ", "> ", "- ", "1. ", "10) ", "- [x] ", "[^1]: ", "[1]: http://x"),
        *("\n", "\n\n", "    ", "\t", " ", "| a | b |\n|---|---|\n"),
        *(CROC, FAMILY, "\ue000", "\ud83d", "\x00", "\u200b"),
    ]
)
TEXTS = st.lists(SNIPPETS | st.text(max_size=5), max_size=30).map("".join)
WORD = re.compile(r"[^\W\d_]+")


@given(TEXTS)
@example("1. a\n\n```\n1. b\n```")
@example("[a](http://b)[c](http://d)")
def test_no_word_is_lost(text: str) -> None:
    """Every word of any text is shown, or is in a URL or the name of a language."""
    found = list(blocks(text))
    shown = "\n".join(block.text for block in found)
    in_entities = " ".join(
        f"{entity.url or ''} {entity.language or ''}"
        for block in found
        for entity in block.entities
    )
    # Neither HTML entities nor the x of a task is a word.
    source = re.sub(r"&\w+;|\[[xX]\]", " ", replace_lone_surrogates(text))
    written = Counter("".join(WORD.findall(source)))

    assert (
        written - Counter("".join(WORD.findall(f"{shown} {in_entities}"))) == Counter()
    )


@given(TEXTS)
def test_entities_are_within_their_text(text: str) -> None:
    """Every entity of any text marks a part of it, and no half of a character."""
    for block in blocks(text):
        data = block.text.encode("utf-16-le")
        for entity in block.entities:
            end = entity.offset + entity.length
            assert 0 <= entity.offset < end <= utf16_length(block.text)
            data[2 * entity.offset : 2 * end].decode("utf-16-le")


@given(TEXTS, TEXTS)
def test_complete_blocks_stay_the_same(before: str, after: str) -> None:
    """A block that is complete stays the same, whatever is written after it."""
    complete = list(blocks(f"{before}\n\nend"))[:-1]
    # Code and formulas may have blank lines, so their end decides.
    if not any(opening in before for opening in ("```", "~~~", *formulas.DISPLAY)):
        assert list(blocks(f"{before}\n\nend {after}"))[: len(complete)] == complete
