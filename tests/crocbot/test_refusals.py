"""Refused calls, in the words of telegram-bot-api, TDLib and Telegram's servers."""

from __future__ import annotations

import pytest

from crocbot.botapi.refusals import delivery_error
from crocbot.errors import ChatGoneError, Refusal

REFUSED = {
    Refusal.THREAD: [
        "Bad Request: message thread not found",
        "Bad Request: TOPIC_CLOSED",
        "Bad Request: TOPIC_DELETED",
        "Bad Request: TOPIC_ID_INVALID",
        "Bad Request: chat is not a forum",
        "Bad Request: the chat is not a forum",
        "Bad Request: invalid message thread identifier specified",
        "Bad Request: unknown forum topic identifier specified",
        "Bad Request: invalid topic identifier specified",
        "Bad Request: chat doesn't have topics",
        "Bad Request: threads can't be used in General topic",
        "Bad Request: can't access the topic",
    ],
    Refusal.QUOTE: [
        "Bad Request: message to be replied not found",
        "Bad Request: message to reply not found",
        "Bad Request: replied message not found",
        "Bad Request: reply message not found",
        "Bad Request: REPLY_MESSAGE_ID_INVALID",
        "Bad Request: QUOTE_TEXT_INVALID",
    ],
    Refusal.FORMATTING: [
        "Bad Request: can't parse entities: Can't find end of the entity starting at"
        " byte offset 5",
        "Bad Request: entity beginning at UTF-16 offset 3 ends in the middle of a"
        " UTF-16 symbol at byte offset 9",
        "Bad Request: ENTITY_BOUNDS_INVALID",
        "Bad Request: ENTITIES_TOO_LONG",
        "Bad Request: ENTITY_MENTION_USER_INVALID",
        "Bad Request: receive an entity with incorrect length -1",
        "Bad Request: invalid custom emoji identifier specified",
        "Bad Request: entity URL 'x' is invalid: Wrong port number specified",
    ],
    Refusal.LENGTH: [
        "Bad Request: message is too long",
        "Bad Request: MESSAGE_TOO_LONG",
        "Bad Request: text is too long",
    ],
    Refusal.MESSAGE: [
        "Bad Request: message to edit not found",
        "Bad Request: message can't be edited",
        "Bad Request: MESSAGE_ID_INVALID",
        "Bad Request: MESSAGE_EDIT_TIME_EXPIRED",
        "Bad Request: MESSAGE_AUTHOR_REQUIRED",
        "Bad Request: message identifier is not specified",
        "Bad Request: message to delete not found",
        "Bad Request: message can't be deleted",
        "Bad Request: message can't be deleted for everyone",
        "Bad Request: there is no text in the message to edit",
    ],
    Refusal.OTHER: [
        "Bad Request: something new",
        "Bad Request: WC_CONVERT_URL_INVALID",
    ],
}
GONE = [
    "Bad Request: chat not found",
    "Bad Request: private chat not found",
    "Bad Request: PEER_ID_INVALID",
    "Bad Request: group chat was deactivated",
    "Bad Request: chat is deactivated",
    "Bad Request: not enough rights to send text messages to the chat",
    "Bad Request: have no rights to send a message",
    "Bad Request: have no write access to the chat",
    "Bad Request: need administrator rights in the channel chat",
    "Bad Request: CHAT_WRITE_FORBIDDEN",
    "Bad Request: CHAT_SEND_PLAIN_FORBIDDEN",
    "Bad Request: CHAT_RESTRICTED",
    "Bad Request: CHAT_GUEST_SEND_FORBIDDEN",
    "Bad Request: CHAT_ADMIN_REQUIRED",
    "Bad Request: CHANNEL_PRIVATE",
    "Bad Request: USER_BANNED_IN_CHANNEL",
    "Bad Request: PREMIUM_ACCOUNT_REQUIRED",
    "Bad Request: ALLOW_PAYMENT_REQUIRED_5",
    "Bad Request: USER_IS_BLOCKED",
]
FORBIDDEN = [
    "Forbidden: bot was blocked by the user",
    "Forbidden: bot was kicked from the group chat",
    "Forbidden: bot was kicked from the supergroup chat",
    "Forbidden: bot is not a member of the channel chat",
    "Forbidden: user is deactivated",
    "Forbidden: the group chat was deleted",
    "Forbidden: bot can't initiate conversation with a user",
    "Forbidden: bot can't send messages to bots",
    "Forbidden: something new",
]


@pytest.mark.parametrize(
    ("description", "refusal"),
    [(text, refusal) for refusal, texts in REFUSED.items() for text in texts],
)
def test_what_is_refused(description: str, refusal: Refusal) -> None:
    """The part of a message that Telegram did not accept is known by its words."""
    error = delivery_error(description, forbidden=False)

    assert (error.refusal, isinstance(error, ChatGoneError)) == (refusal, False)
    assert str(error) == f"Telegram refused the call: {description}"


@pytest.mark.parametrize(
    ("description", "forbidden"),
    [*((text, False) for text in GONE), *((text, True) for text in FORBIDDEN)],
)
def test_a_chat_that_is_gone(description: str, forbidden: bool) -> None:
    """A chat accepts no messages of the bot any more, whichever way it is said."""
    assert isinstance(delivery_error(description, forbidden=forbidden), ChatGoneError)


def test_a_topic_that_is_forbidden() -> None:
    """An old server answers 403 to a closed topic, whose chat is still there."""
    assert delivery_error("TOPIC_CLOSED", forbidden=True).refusal is Refusal.THREAD
