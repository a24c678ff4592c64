"""
Faults of a Bot API call, in place of its answer.

    Answer(502, "<html>...")   a status and a body: API errors, pages, garbage
    Drop()                     the connection ends without an answer
    Slow(20)                   the answer comes, but late

The functions below have Telegram's exact words.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

OTHER_POLLER = (
    "Conflict: terminated by other getUpdates request;"
    " make sure that only one bot instance is running"
)
TERMINATED_BY_WEBHOOK = "Conflict: terminated by setWebhook request"
WEBHOOK_ACTIVE = (
    "Conflict: can't use getUpdates method while webhook is active;"
    " use deleteWebhook to delete the webhook first"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """This answer; the call is not carried out."""

    status: int
    body: str
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Drop:
    """
    The connection is cut.

    With `carried_out` only the answer is lost.
    """

    carried_out: bool = False


@dataclass(frozen=True, slots=True)
class Slow:
    """The answer comes this late; a call beyond the bot's timeout hangs."""

    seconds: float


Fault = Answer | Drop | Slow


def api_error(status: int, description: str, **parameters: Any) -> Answer:
    """Return an error in Telegram's format."""
    error = {"ok": False, "error_code": status, "description": description}
    more = {"parameters": parameters} if parameters else {}
    return Answer(status, json.dumps(error | more))


def unauthorized() -> Answer:
    """Return the error for a token that is wrong or was revoked."""
    return api_error(401, "Unauthorized")


def other_poller() -> Answer:
    """Return the error for a second poller with the same token."""
    return api_error(409, OTHER_POLLER)


def webhook_active() -> Answer:
    """Return the error for polling while a webhook is set."""
    return api_error(409, WEBHOOK_ACTIVE)


def flood_wait(seconds: int) -> Answer:
    """Return the error for too many requests."""
    description = f"Too Many Requests: retry after {seconds}"
    return api_error(429, description, retry_after=seconds)


def server_error() -> Answer:
    """Return the error of a failure inside Telegram."""
    return api_error(500, "Internal Server Error")


def bad_gateway() -> Answer:
    """Return the page of a proxy in front of Telegram."""
    page = (
        "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n"
        "<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
    )
    return Answer(502, page, "text/html")


def garbage() -> Answer:
    """Return status 200 with a body that is no Bot API answer."""
    return Answer(200, "<!DOCTYPE html><p>Please log in to this Wi-Fi", "text/html")
