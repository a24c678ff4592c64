"""
Is everything as it must be?  Looks, changes nothing, starts nothing.

    settings   who would be let in              telegram   whose token it is
    database   can it be used, or made          agent      can it be asked

Each is looked at whatever is wrong with the others, and gives one line.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from crocbot import agents, store
from crocbot.botapi import Client
from crocbot.errors import CrocbotError, OperatorError
from crocbot.settings import Settings

SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line about one thing."""

    what: str
    well: bool
    words: str


async def check(settings: Settings) -> AsyncIterator[Finding]:
    """Look at one thing after the other."""
    yield Finding("settings", True, _access(settings))
    looks = {"database": _database, "telegram": _telegram, "agent": _agent}
    for what, look in looks.items():
        yield await _finding(what, look, settings)


async def _finding(
    what: str, look: Callable[[Settings], Awaitable[str]], settings: Settings
) -> Finding:
    try:
        async with asyncio.timeout(SECONDS):
            return Finding(what, True, await look(settings))
    except TimeoutError:
        return Finding(what, False, f"no answer within {SECONDS:g} s")
    except CrocbotError as error:
        return Finding(what, False, str(error))


def _access(settings: Settings) -> str:
    people, groups = len(settings.allow_from), len(settings.groups)
    if settings.access != "allowlist" or people or groups:
        return f"access {settings.access}, {people} listed, {groups} groups"
    return "nobody is let in yet: set CROCBOT_ALLOW_FROM, or CROCBOT_ACCESS=pairing"


async def _database(settings: Settings) -> str:
    file = settings.database
    if file.exists():
        store.inspect(file)
    folder = next(one for one in file.parents if one.exists())
    if not os.access(folder, os.W_OK | os.X_OK) or not folder.is_dir():
        raise OperatorError(f"CROCBOT_STATE_DIR: cannot write in {folder}")
    return f"{file} {'is good' if file.exists() else 'will be made'}"


async def _telegram(settings: Settings) -> str:
    token = settings.token.get_secret_value()
    async with Client(token, settings.telegram_api_url) as client:
        me = await client.get_me()
    return f"@{me.username} is ours"


async def _agent(settings: Settings) -> str:
    agent = agents.choose(settings)
    try:
        return await agent.check()
    finally:
        await agent.close()
