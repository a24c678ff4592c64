"""
`crocbot check`: test each thing that the gateway needs; change and start nothing.

    settings   who has access                   telegram   whose token it is
    database   it can be used, or made          agent      it can be asked

Each is tested even if another one fails, and gives one line.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from crocbot import agents, store
from crocbot.access import privacy_warning
from crocbot.botapi import Client
from crocbot.errors import CrocbotError, OperatorError
from crocbot.settings import Settings

TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line about one thing."""

    name: str
    passed: bool
    text: str


async def check(settings: Settings) -> AsyncIterator[CheckResult]:
    """Test one thing after the other."""
    yield CheckResult("settings", True, _access(settings))
    checks = {"database": _database, "telegram": _telegram, "agent": _agent}
    for name, run in checks.items():
        yield await _result(name, run, settings)


async def _result(
    name: str, run: Callable[[Settings], Awaitable[str]], settings: Settings
) -> CheckResult:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return CheckResult(name, True, await run(settings))
    except TimeoutError:
        return CheckResult(name, False, f"no answer within {TIMEOUT_SECONDS:g} s")
    except CrocbotError as error:
        return CheckResult(name, False, str(error))


def _access(settings: Settings) -> str:
    people, groups = len(settings.allow_from), len(settings.groups)
    if settings.access != "allowlist" or people or groups:
        return f"access {settings.access}, {people} listed, {groups} groups"
    return "no user is allowed: set CROCBOT_ALLOW_FROM, or CROCBOT_ACCESS=pairing"


async def _database(settings: Settings) -> str:
    file = settings.database
    exists = store.exists(file)
    if exists:
        store.inspect(file)
    folder = next(one for one in file.parents if one.exists())
    if not os.access(folder, os.W_OK | os.X_OK) or not folder.is_dir():
        raise OperatorError(f"CROCBOT_STATE_DIR: cannot write in {folder}")
    return f"{file} {'is valid' if exists else 'will be created'}"


async def _telegram(settings: Settings) -> str:
    token = settings.token.get_secret_value()
    async with Client(token, settings.telegram_api_url) as client:
        identity = await client.get_me()
    warning = privacy_warning(identity, settings.groups)
    found = f"@{identity.username} is the bot of this token"
    return f"{found}; warning: {warning}" if warning else found


async def _agent(settings: Settings) -> str:
    agent = agents.create_agent(settings)
    try:
        return await agent.check()
    finally:
        await agent.close()
