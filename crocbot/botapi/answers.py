"""
Errors in the Bot API's answers that python-telegram-bot does not raise as they are.

    429    FloodError, without a warning of deprecation
    400    RefusedError, in Telegram's own words; also for 403
    413    TooLargeError, also of a server in between
    404    NotFoundError, apart from a 401

A page of a server in between has no description: python-telegram-bot's errors for it
count as network errors.
"""

from __future__ import annotations

import telegram.error

from crocbot.http_client import load_json

TOO_LARGE = "Request Entity Too Large"


class FloodError(telegram.error.TelegramError):
    """
    A flood wait (HTTP 429).

    python-telegram-bot's own RetryAfter warns of deprecation when it is constructed.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"wait {seconds:g} s")
        self.seconds = seconds


class RefusedError(telegram.error.TelegramError):
    """
    400 or 403 from Telegram itself, with its `description`.

    python-telegram-bot's own exceptions change the case of the description.
    """

    def __init__(self, description: str, *, forbidden: bool) -> None:
        super().__init__(description)
        self.description = description.removeprefix("Bad Request: ")
        self.forbidden = forbidden


class MissingMethodError(RefusedError):
    """The server does not have the method."""

    def __init__(self, description: str) -> None:
        super().__init__(description, forbidden=False)


class TooLargeError(RefusedError):
    """413, of Telegram or of a server in between: the body of the call is too large."""


class NotFoundError(telegram.error.InvalidToken):
    """
    404 from Telegram itself: a malformed token, or a method that does not exist.

    python-telegram-bot raises InvalidToken for both, and for a 401.
    """


def raise_error(status: int, payload: bytes) -> None:
    """Raise the error for these statuses; python-telegram-bot has those for others."""
    if status == 429:
        raise FloodError(_retry_after(payload))
    if status == 413:
        # Also of a server in between: the same file is too large for it again.
        raise TooLargeError(TOO_LARGE, forbidden=False)
    if status not in {400, 403, 404}:
        return
    description = _telegram_description(payload)
    if not description or _is_move(payload):
        return
    if status == 404:
        raise NotFoundError(description)
    raise RefusedError(description, forbidden=status == 403)


def _telegram_description(payload: bytes) -> str:
    """Return Telegram's description of an error, empty if another server answered."""
    try:
        return str(load_json(payload)["description"])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return ""


def _is_move(payload: bytes) -> bool:
    """Return whether an error has the new id of a chat."""
    parameters = load_json(payload).get("parameters")
    return isinstance(parameters, dict) and "migrate_to_chat_id" in parameters


def _retry_after(payload: bytes) -> float:
    """Return the flood wait in seconds, 1 at least and if Telegram gives none."""
    try:
        seconds = float(load_json(payload)["parameters"]["retry_after"])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return 1.0
    return min(max(seconds, 1.0), 86_400.0) if seconds == seconds else 1.0
