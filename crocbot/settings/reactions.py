"""The emoji that Telegram accepts as reactions of bots (Bot API, ReactionTypeEmoji)."""

from __future__ import annotations

# Apps add it to emoji that are also characters of text; Telegram's list is without it.
VARIATION_SELECTOR = "\ufe0f"

REACTIONS = frozenset(
    [
        *"👍👎❤🔥🥰👏😁🤔🤯😱🤬😢🎉🤩🤮💩🙏👌🕊🤡🥱🥴😍🐳🌚🌭💯🤣⚡🍌🏆",
        *"💔🤨😐🍓🍾💋🖕😈😴😭🤓👻👀🎃🙈😇😨🤝✍🤗🫡🎅🎄☃💅🤪🗿🆒💘🙉",
        *"🦄😘💊🙊😎👾🤷😡",
        *("❤\u200d🔥", "👨\u200d💻", "🤷\u200d♂", "🤷\u200d♀"),
    ]
)


def reaction(value: object) -> object:
    """Return a reaction in Telegram's form; raise ValueError if it is none."""
    if not isinstance(value, str):
        return value
    emoji = value.strip().replace(VARIATION_SELECTOR, "")
    if emoji not in REACTIONS:
        raise ValueError(f"{value!r} is no reaction")
    return emoji
