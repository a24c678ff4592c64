"""
Who wrote to a bot, before its gateway runs.

    getUpdates(offset 0) --> updates --> Sender, each person once
         |  nothing is confirmed: the gateway gets every update again, and answers it
         '-- a long poll while no update is pending, else a poll every second

Only messages in private chats count.  Updates that are not confirmed hide those beyond
the first 100: then there is no way to see a new one, and OperatorError says so.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from crocbot.botapi import Client
from crocbot.errors import (
    DeliveryError,
    FloodWaitError,
    OperatorError,
    TelegramError,
    WebhookSetError,
)
from crocbot.model import BotIdentity, RawUpdate, ReconnectReason, Sleep
from crocbot.proxies import NO_PROXIES, Proxies

MAX_UPDATES = 100
PAUSE_SECONDS = 1.0
CONFLICT = "another program receives this bot's messages: stop it, and try again"
WEBHOOK = (
    "a webhook is set for this bot, so its messages cannot be read here: the program"
    " at that URL receives them, until a start of crocbot gateway deletes the webhook"
)
OVERFLOW = (
    f"{MAX_UPDATES} updates wait for this bot already, so a new message cannot be seen"
    " before a gateway has received them"
)


@dataclass(frozen=True, slots=True)
class Sender:
    """A person who wrote to the bot, as Telegram names them; nothing is escaped."""

    user_id: int
    name: str
    username: str


async def identify(
    token: str, api_url: str, proxies: Proxies = NO_PROXIES
) -> BotIdentity:
    """Return the bot of a token; raise OperatorError if Telegram refuses the token."""
    async with Client(token, api_url, proxies=proxies) as client:
        return await client.get_me()


class Senders:
    """
    The people who wrote to a bot, in the order of their first messages.

    Each next() has connections of its own, so that it may be run by a new event loop.
    """

    def __init__(
        self,
        token: str,
        api_url: str,
        proxies: Proxies = NO_PROXIES,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._token = token
        self._api_url = api_url
        self._proxies = proxies
        self._sleep = sleep
        self._seen: set[int] = set()
        self._found: deque[Sender] = deque()
        self._pending = False

    async def next(self) -> Sender:
        """
        Return the next person, once there is one.

        Raise OperatorError if messages cannot be seen, TelegramError if Telegram
        cannot be reached.
        """
        async with Client(self._token, self._api_url, proxies=self._proxies) as client:
            while not self._found:
                await self._try(client)
        return self._found.popleft()

    async def _try(self, client: Client) -> None:
        try:
            await self._poll(client)
        except WebhookSetError as error:
            raise OperatorError(WEBHOOK) from error
        except FloodWaitError as error:
            await self._sleep(error.seconds)
        except DeliveryError as error:
            raise OperatorError(str(error)) from error
        except TelegramError as error:
            if error.reason is ReconnectReason.CONFLICT:
                raise OperatorError(CONFLICT) from error
            raise

    async def _poll(self, client: Client) -> None:
        if self._pending:
            await self._sleep(PAUSE_SECONDS)
        wait = not self._pending
        updates = await client.get_updates(0, MAX_UPDATES, wait=wait)
        self._pending = bool(updates)
        for update in updates:
            sender = _sender(update)
            if sender is not None and sender.user_id not in self._seen:
                self._seen.add(sender.user_id)
                self._found.append(sender)
        if not self._found and len(updates) >= MAX_UPDATES:
            raise OperatorError(OVERFLOW)


def _sender(update: RawUpdate) -> Sender | None:
    """Return who wrote a message in a private chat; None for any other update."""
    message = update.get("message")
    if not isinstance(message, Mapping):
        return None
    chat, user = message.get("chat"), message.get("from")
    if not isinstance(chat, Mapping) or not isinstance(user, Mapping):
        return None
    user_id = user.get("id")
    if not isinstance(user_id, int) or user_id <= 0 or user.get("is_bot"):
        return None
    if chat.get("type") != "private":
        return None
    names = (user.get("first_name"), user.get("last_name"))
    return Sender(
        user_id,
        " ".join(name for name in names if isinstance(name, str) and name),
        username if isinstance(username := user.get("username"), str) else "",
    )
