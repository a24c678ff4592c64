"""The text of a call of the bot: its formatting, its buttons, its place in the chat."""

from __future__ import annotations

from typing import Any

from crocbot.sandbox import files, messages
from crocbot.sandbox.parameters import BotApiError, Parameters

MAX_TEXT_UNITS = 4096


def _text(parameters: Parameters) -> str:
    """Return the text without surrounding white space; BotApiError if refused."""
    text = parameters.text("text").strip()
    if not text:
        raise BotApiError(400, "Bad Request: message text is empty")
    if messages.units(text) > MAX_TEXT_UNITS:
        raise BotApiError(400, "Bad Request: message is too long")
    return text


def formatted(parameters: Parameters) -> dict[str, Any]:
    """Return the text with its entities, and the buttons below it."""
    text, buttons = _text(parameters), files.keyboard(parameters)
    entities = parameters.json("entities")
    if not entities:
        return {"text": text} | buttons
    for entity in entities:
        end = entity["offset"] + entity["length"]
        if not 0 <= entity["offset"] < end <= messages.units(text):
            raise BotApiError(400, "Bad Request: entity is out of the text's bounds")
    return {"text": text, "entities": entities} | buttons


def thread_and_reply(parameters: Parameters) -> dict[str, Any]:
    """Return the topic of a message, and the message that it replies to."""
    thread = parameters.integer("message_thread_id", 0)
    reply = parameters.json("reply_parameters")
    topic = {"message_thread_id": thread, "is_topic_message": True} if thread else {}
    answered = (
        {"reply_to_message": {"message_id": reply["message_id"]}} if reply else {}
    )
    return topic | answered
