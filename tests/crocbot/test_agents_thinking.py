"""Thinking that is left out of answers, and text that only looks like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot.agents import ThinkingTags
from crocbot.agents.thinking import ALL_TAGS, MAX_KEPT_CHARS
from crocbot.model import RETRACTED

CASES = {
    "<think>Hm.</think>Hello": "Hello",
    " \n<THINK>Hm.\n</think>\n\nHello": "Hello",
    "<thinking>Hm.</thinking>Hello": "Hello",
    "<seed:think>Hm.</seed:think>Hello": "Hello",
    "[THINK]Hm.[/THINK]Hello": "Hello",
    "◁think▷Hm.◁/think▷Hello": "Hello",
    "<thought>Hm.</thought>Hello": "Hello",
    "<thoughts>Hm.</thoughts>Hello": "Hello",
    "<analysis>Hm.</analysis>Hello": "Hello",
    "<reflection>Hm.</reflection>Hello": "Hello",
    "<think >Hm.</think>Hello": "Hello",
    "<think\n>Hm.</think>Hello": "Hello",
    "<Reasoning >Hm.</Reasoning>Hello": "Hello",
    "<|START_THINKING|>Hm.<|END_THINKING|>Hello": "Hello",
    "<|channel>thought\nHm.<channel|>Hello": "Hello",
    "<unused94>thought\nHm.<unused95>Hello": "Hello",
    "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
    "<|channel|>final<|message|>Hello": "Hello",
    "<think>One.</think>\n<think>Two.</think>Hello": "Hello",
    "<think>Hm.</think></think>Hello": "Hello",
    "<think>It ends </thinking> here </think>Hello": "Hello",
    "<think>Never an answer": "",
    # The template opened the tag.
    "Hm.\n</think>\n\nHello": "Hello",
    "</think>\n\nHello": "Hello",
    # Between texts.
    "Hello <think>Hm.</think>there": "Hello there",
    "Hello <think >Hm.</think>there": "Hello there",
    "Hello <think>Hm.</think>there, </think> is text": "Hello there, </think> is text",
    # Text.
    "": "",
    "Hello": "Hello",
    "a < b [c] <thi": "a < b [c] <thi",
    "<div>Hello</div>": "<div>Hello</div>",
    "Hello <think> is a tag": "Hello <think> is a tag",
    "A <thought>stays</thought>": "A <thought>stays</thought>",
    "An <analysis>stays</analysis>": "An <analysis>stays</analysis>",
    "<analyst>Hello": "<analyst>Hello",
    "<thinker >Hello": "<thinker >Hello",
    "Write `<think >` first": "Write `<think >` first",
    "Write `</think>` at the end": "Write `</think>` at the end",
    'Write "</think>" at the end': 'Write "</think>" at the end',
    "```\n<think>a</think>\n```\nDone": "```\n<think>a</think>\n```\nDone",
    "```\na\n```\nHm.</think>Hello": "Hello",
}


def shown(tags: ThinkingTags, *parts: str, complete: bool = True) -> str:
    """Return what is left of an answer in these parts."""
    thinking, texts = tags.filter(), list[str]()
    for part in parts:
        for text in thinking.feed(part):
            if text is RETRACTED:
                texts.clear()
            else:
                texts.append(text)
    return "".join([*texts, thinking.finish(complete=complete)])


@pytest.mark.parametrize(("answer", "text"), CASES.items())
@given(st.lists(st.integers(1, 9), min_size=1))
def test_thinking(answer: str, text: str, sizes: list[int]) -> None:
    """A block is left out wherever the answer is split; everything else is text."""
    parts, rest = [], answer
    while rest:
        size = sizes[len(parts) % len(sizes)]
        parts.append(rest[:size])
        rest = rest[size:]

    assert shown(ThinkingTags(), answer) == text
    assert shown(ThinkingTags(), *parts) == text


@given(
    st.lists(st.sampled_from([*ALL_TAGS, "a", " ", "\n", "`", "<", "thi"]), max_size=30)
)
def test_nothing_is_added(parts: list[str]) -> None:
    """What is shown of any answer is a part of it; without tags it is all of it."""
    text, rest = shown(ThinkingTags(), *parts), iter("".join(parts))

    assert all(letter in rest for letter in text)
    if not any(tag in "".join(parts) for tag in ALL_TAGS):
        assert text.strip() == "".join(parts).strip()


def test_a_template_that_opens_the_tag() -> None:
    """From the second answer on nothing is shown before the block has ended."""
    tags = ThinkingTags()
    assert shown(tags, "Hm.", "</think>", "Hello") == "Hello"

    thinking = tags.filter()
    assert thinking.feed("A secret thought ") == []
    assert thinking.feed("ends.</think>Hi") == ["Hi"]


def test_a_model_that_does_not_think_any_more() -> None:
    """An answer that was kept back is shown at its end; the next one at once."""
    tags = ThinkingTags(opened_by_template=True)

    assert shown(tags, "An ", "answer.") == "An answer."
    assert tags.filter().feed("An ") == ["An "]


def test_an_answer_that_breaks_off() -> None:
    """Thinking that has not ended is no text."""
    tags = ThinkingTags(opened_by_template=True)

    assert shown(tags, "Hm, ", complete=False) == ""
    assert shown(ThinkingTags(), "Hi <think>Hm, ", complete=False) == "Hi "


def test_endless_thinking() -> None:
    """A block that never ends takes little memory."""
    thinking = ThinkingTags(opened_by_template=True).filter()
    for _ in range(40):
        thinking.feed("x" * 10_000)

    assert MAX_KEPT_CHARS <= len(thinking.finish(complete=True)) < 2 * MAX_KEPT_CHARS
