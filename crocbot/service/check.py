"""
`crocbot check`: test each thing that the gateway needs; change and start nothing.

    settings   who has access                   telegram   whose token it is
    database   check_database.py                agent      it can be asked
    fallback   if set, like the agent           metrics    whether they are refused
    transcription   if set: silence is sent

Each is tested even if another one fails, and gives a line; a warning is a line of its
own.  A failure is UNREACHABLE if the network or a server may be the cause, or INVALID.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from urllib.parse import urlsplit

from crocbot import agents, log
from crocbot.access import privacy_warning
from crocbot.botapi import Client
from crocbot.errors import (
    AgentError,
    CrocbotError,
    FloodWaitError,
    StoreError,
    TelegramError,
    UnconfirmedError,
)
from crocbot.model import OFF, HostPort
from crocbot.service.check_database import check_file, check_server
from crocbot.settings import Settings, advice, open_files
from crocbot.telemetry.probe import ProbeError, probe
from crocbot.text import printable
from crocbot.transcription import create_transcriber
from crocbot.turn_outcomes import AgentErrorReason

TIMEOUT_SECONDS = 30.0
NO_ACCESS = "no user is allowed: set CROCBOT_ALLOW_FROM, or CROCBOT_ACCESS=pairing"
# What a later try may not meet.
TEMPORARY_REASONS = frozenset(
    {
        AgentErrorReason.UNREACHABLE,
        AgentErrorReason.TIMEOUT,
        AgentErrorReason.FAILED,
        AgentErrorReason.RATE_LIMITED,
    }
)


class CheckStatus(IntEnum):
    """The result of a check; the larger one decides about the exit code."""

    OK = 0
    WARNING = 1
    UNREACHABLE = 2
    INVALID = 3


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line about one thing."""

    name: str
    status: CheckStatus
    text: str


Findings = AsyncIterator[tuple[CheckStatus, str]]


async def check(settings: Settings) -> AsyncIterator[CheckResult]:
    """Test one thing after the other; no text contains a secret."""
    redactor = log.Redactor(settings.secrets)
    for result in _settings(settings):
        yield result
    fallback = [("fallback", _fallback)]
    transcription = [("transcription", _transcription)]
    for name, run in (
        ("database", _database),
        ("telegram", _telegram),
        ("agent", _agent),
        *(fallback if settings.fallback_agent else []),
        *(transcription if settings.transcribe_url else []),
        ("metrics", _metrics),
    ):
        for status, text in await _findings(name, run, settings):
            yield CheckResult(name, status, redactor.redact(text))


async def _findings(
    name: str, run: Callable[[Settings], Findings], settings: Settings
) -> list[tuple[CheckStatus, str]]:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return [finding async for finding in run(settings)]
    except TimeoutError:
        status, text = CheckStatus.UNREACHABLE, f"no answer in {TIMEOUT_SECONDS:g} s"
    except CrocbotError as error:
        programs = {"agent": settings.agent, "fallback": settings.fallback_agent}
        is_program = programs.get(name) == "command"
        status, text = _status(error, is_program=is_program), str(error)
    if (
        status is CheckStatus.UNREACHABLE
        and (host := _host(name, settings)) not in text
    ):
        text = f"{host}: {text}"
    return [(status, text)]


def _status(error: CrocbotError, *, is_program: bool) -> CheckStatus:
    match error:
        case UnconfirmedError():
            return CheckStatus.WARNING
        case TelegramError() | FloodWaitError() | StoreError():
            return CheckStatus.UNREACHABLE
        case AgentError() if not is_program:
            temporary = error.reason in TEMPORARY_REASONS
            return CheckStatus.UNREACHABLE if temporary else CheckStatus.INVALID
        case _:
            return CheckStatus.INVALID


def _host(name: str, settings: Settings) -> str:
    """
    Return the host of a check, with its port if that is set; "" if it has none.

    A URL may also contain a user and a password.
    """
    if name == "fallback":
        return "" if settings.fallback is None else _host("agent", settings.fallback)
    match name, settings.agent:
        case "telegram", _:
            url = settings.telegram_api_url
        case "transcription", _:
            url = settings.transcribe_url or ""
        case "agent", "http":
            url = settings.agent_url or ""
        case "agent", "openai":
            url = settings.openai_base_url
        case _:
            url = ""
    return urlsplit(url).netloc.rpartition("@")[2]


def _settings(settings: Settings) -> Iterator[CheckResult]:
    people, groups = len(settings.allow_from), len(settings.groups)
    access = f"access {settings.access}, {people} listed, {groups} groups"
    if settings.access != "allowlist" or people or groups:
        yield CheckResult("settings", CheckStatus.OK, access)
    else:
        yield CheckResult("settings", CheckStatus.WARNING, NO_ACCESS)
    for text in (*advice(settings), *open_files(settings)):
        yield CheckResult("settings", CheckStatus.WARNING, text)


async def _database(settings: Settings) -> Findings:
    url = settings.postgresql
    text, warnings = (
        check_file(settings) if url is None else await check_server(settings, url)
    )
    yield CheckStatus.OK, text
    for warning in warnings:
        yield CheckStatus.WARNING, warning


async def _telegram(settings: Settings) -> Findings:
    token = settings.token.get_secret_value()
    async with Client(
        token, settings.telegram_api_url, proxies=settings.proxies
    ) as client:
        identity = await client.get_me()
        other = await _other_webhook(client, settings)
    proxy = _proxy(settings, settings.telegram_api_url)
    yield CheckStatus.OK, f"@{identity.username} is the bot of this token{proxy}"
    if warning := privacy_warning(identity, settings.groups):
        yield CheckStatus.WARNING, warning
    if other is not None:
        change = "deletes" if settings.webhook_url is None else "replaces"
        yield (
            CheckStatus.WARNING,
            f"a webhook is set for this bot, at {other}: a start of the gateway"
            f" {change} it, and the program there gets no more messages",
        )


async def _other_webhook(client: Client, settings: Settings) -> str | None:
    """Return the host of a webhook that is not the gateway's, None without one."""
    try:
        url = (await client.get_webhook_info()).get("url")
    except CrocbotError:
        # The checks go on: the start finds out, too.
        return None
    if not isinstance(url, str) or not url or url == settings.webhook_url:
        return None
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    return printable(host or "another host")


async def _agent(settings: Settings) -> Findings:
    agent = agents.create_agent(settings)
    try:
        found = await agent.check()
        yield CheckStatus.OK, found + _proxy(settings, settings.agent_server)
    finally:
        await agent.close()


async def _fallback(settings: Settings) -> Findings:
    agent, fallback = agents.create_fallback(settings), settings.fallback
    if agent is None or fallback is None:
        return
    try:
        found = await agent.check()
        yield CheckStatus.OK, found + _proxy(settings, fallback.agent_server)
    finally:
        await agent.close()


async def _transcription(settings: Settings) -> Findings:
    transcriber = create_transcriber(settings)
    if transcriber is None:
        return
    try:
        found = await transcriber.check()
        yield CheckStatus.OK, found + _proxy(settings, settings.transcribe_url)
    finally:
        await transcriber.close()


async def _metrics(settings: Settings) -> Findings:
    receiver = HostPort(settings.statsd_host, settings.statsd_port)
    if receiver.host == OFF:
        yield CheckStatus.OK, "off: CROCBOT_STATSD_HOST is off, so none are sent"
        return
    try:
        await probe(receiver)
    except ProbeError as error:
        hint = "see CROCBOT_STATSD_HOST and CROCBOT_STATSD_PORT"
        text = f"{error}; {hint} (messages are answered without metrics)"
        yield CheckStatus.WARNING, text
    else:
        text = f"nothing refused what was sent to {receiver}; UDP confirms no receipt"
        yield CheckStatus.OK, text


def _proxy(settings: Settings, url: str | None) -> str:
    """Return the end of a line about a server: the proxy, if there is one."""
    proxy = None if url is None else settings.proxies.for_url(url)
    return f", through the proxy {proxy}" if proxy else ""
