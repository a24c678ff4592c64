"""
What can go wrong between a bot and Telegram, instead of an answer.

    Answer(502, "<html>...")   a status and a body: refusals, pages, garbage
    Drop()                     the connection ends without an answer
    Slow(20)                   the answer comes, but late

The makers below have Telegram's exact words.
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
    """This instead of the real answer; nothing is carried out."""

    status: int
    body: str
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Drop:
    """
    The connection is cut.

    With `carried_out` Telegram did what was asked and only the answer is lost.
    """

    carried_out: bool = False


@dataclass(frozen=True, slots=True)
class Slow:
    """The call waits first; longer than the bot's patience, and it is a hang."""

    seconds: float


Fault = Answer | Drop | Slow


def api_error(status: int, description: str, **parameters: Any) -> Answer:
    """A refusal in Telegram's form."""
    refused = {"ok": False, "error_code": status, "description": description}
    more = {"parameters": parameters} if parameters else {}
    return Answer(status, json.dumps(refused | more))


def unauthorized() -> Answer:
    """The token is wrong, or was revoked."""
    return api_error(401, "Unauthorized")


def other_poller() -> Answer:
    """Somebody else polls with the same token."""
    return api_error(409, OTHER_POLLER)


def webhook_active() -> Answer:
    """A webhook is set, so polling is refused."""
    return api_error(409, WEBHOOK_ACTIVE)


def flood_wait(seconds: int) -> Answer:
    """Too many requests; come back later."""
    words = f"Too Many Requests: retry after {seconds}"
    return api_error(429, words, retry_after=seconds)


def server_error() -> Answer:
    """Telegram itself has a bad day."""
    return api_error(500, "Internal Server Error")


def bad_gateway() -> Answer:
    """A page of whatever stands before Telegram's servers."""
    page = (
        "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n"
        "<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
    )
    return Answer(502, page, "text/html")


def garbage() -> Answer:
    """Status 200, and no Bot API answer behind it."""
    return Answer(200, "<!DOCTYPE html><p>Please log in to this Wi-Fi", "text/html")
