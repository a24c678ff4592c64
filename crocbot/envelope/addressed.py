"""Whether a message in a group is for the bot: it mentions the bot or replies to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crocbot import log
from crocbot.envelope.context import SKIPPED, replied_to
from crocbot.errors import EnvelopeError
from crocbot.model import BotIdentity

if TYPE_CHECKING:
    from crocbot.envelope.message import Fields, MarkedText

logger = log.logger(__name__)


def is_addressed(message: Fields, bot: BotIdentity) -> bool:
    """Return whether a message in a group mentions the bot or replies to it."""
    if _is_reply_to(message, bot):
        return True
    return any(
        _mentions(bot, entity, message.raw(text))
        for text, entities in (("text", "entities"), ("caption", "caption_entities"))
        for entity in message.marked_texts(entities)
    )


def _is_reply_to(message: Fields, bot: BotIdentity) -> bool:
    """Return whether a message replies to the bot; only its author is read."""
    try:
        original = replied_to(message)
        author = None if original is None else original.optional_fields("from")
        return author is not None and author.integer("id") == bot.user_id
    except EnvelopeError as error:
        logger.warning(SKIPPED, error=str(error))
        return False


def _mentions(bot: BotIdentity, entity: MarkedText, text: object) -> bool:
    """
    Return whether a marked part of the text is the bot's name.

        @our_bot    /ask@our_bot    Our Bot, as a link to the user
    """
    if entity.type == "text_mention":
        return entity.user_id == bot.user_id
    if entity.type not in {"mention", "bot_command"} or not isinstance(text, str):
        return False
    return entity.of(text).lower().partition("@")[2] == bot.username.lower()
