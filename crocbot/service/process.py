"""One process: signals, the lock of the state directory, telemetry, the gateway."""

from __future__ import annotations

import asyncio
import errno
import resource
import signal
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from importlib.metadata import version
from typing import Any

from crocbot import (
    agents,
    linux,
    log,
)
from crocbot.alerts import AlertEvents, AlertKeeper, Alerts, alert_ways
from crocbot.botapi import Client
from crocbot.errors import AgentError, OperatorError
from crocbot.events import EventListener, PollingStarted
from crocbot.health.send import SendPage
from crocbot.health.server import Health
from crocbot.health.status import StatusPage
from crocbot.model import HostPort
from crocbot.pushed import PushedMessages
from crocbot.service.database import Database
from crocbot.service.gateway import Gateway
from crocbot.service.readiness import Readiness
from crocbot.service.shutdown import (
    Shutdown,
    exit_after,
    exit_now,
    has_blocking_threads,
    run_unless,
)
from crocbot.service.startup import connect
from crocbot.settings import Settings
from crocbot.state_dir import locked, open_directory
from crocbot.telemetry import Telemetry
from crocbot.transcription import create_transcriber

VERSION = version("crocbot")
# After the drain: for closing files and the last packets, then for cancelled tasks.
CLOSE_SECONDS = 1.5
EXIT_SECONDS = 0.5
MAX_SIGNALS = 2
"""The first signal asks to stop, the second not to wait for turns; more do nothing."""

MAX_OPEN_FILES = 65_536
NO_FILES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

logger = log.logger(__name__)


def main(settings: Settings) -> None:
    """Run the gateway until a signal; the process ends even if a task hangs."""
    linux.keep_memory_private()
    linux.adopt_orphans()
    raise_open_files()
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(LoopErrors())
    code = 1
    try:
        loop.run_until_complete(_run_until_signal(settings))
        code = 0
    except OperatorError:
        code = 2
        raise
    finally:
        ended = _end_tasks(loop)
        if code == 0:
            exit_now(code)
        if not ended:
            exit_after(EXIT_SECONDS, code)
        loop.close()


def raise_open_files() -> None:
    """Raise the limit of open files as far as permitted, to `MAX_OPEN_FILES`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_infinite = hard == resource.RLIM_INFINITY
    limit = MAX_OPEN_FILES if is_infinite else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < limit:
        # A sandbox may forbid it: then the lower limit stays.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


class LoopErrors:
    """The event loop's exception handler: a listener without files is logged seldom."""

    def __init__(self) -> None:
        self._rate_limited = log.RateLimitedLog(time.monotonic)

    def __call__(
        self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]
    ) -> None:
        """Log an error of the event loop."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in NO_FILES:
            # asyncio reports each connection that it could not accept.
            self._rate_limited.error("connections not accepted", error=str(error))
        else:
            loop.default_exception_handler(dict(context))


async def _run_until_signal(settings: Settings) -> None:
    shutdown = Shutdown()
    loop = asyncio.get_running_loop()
    seconds = settings.drain_seconds + CLOSE_SECONDS
    received = 0

    def on_signal(*_: object) -> None:
        # Python runs this even while an agent blocks the event loop, and inside itself.
        nonlocal received
        received += 1
        if received == 1:
            exit_after(seconds, 0, shutdown.lock)
        if received <= MAX_SIGNALS:
            loop.call_soon_threadsafe(shutdown.request)

    handlers = {
        number: signal.signal(number, on_signal)
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        await run(settings, shutdown)
    except BaseException:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        raise
    # Otherwise they stay until the exit: one more must not change its code.


def _end_tasks(loop: asyncio.AbstractEventLoop) -> bool:
    """Cancel all tasks; return whether nothing keeps Python from its exit."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        _, tasks = loop.run_until_complete(asyncio.wait(tasks, timeout=EXIT_SECONDS))
    return not tasks and not has_blocking_threads()


async def run(settings: Settings, shutdown: Shutdown) -> None:
    """Run the gateway until a stop is requested; raises OperatorError."""
    with locked(settings.state_dir) as lock:
        shutdown.lock = lock
        receiver = HostPort(settings.statsd_host, settings.statsd_port)
        telemetry = Telemetry(receiver, version=VERSION)
        try:
            await telemetry.start()
            page = StatusPage(settings.state_dir, telemetry.totals)
            await serve(settings, telemetry.observer, shutdown, page)
        except OperatorError:
            lock.mark_stopped()
            raise
        finally:
            await telemetry.stop()
        lock.mark_stopped()


async def serve(
    settings: Settings,
    events: EventListener,
    shutdown: Shutdown,
    status: StatusPage | None = None,
) -> None:
    """Serve one bot; the caller has locked the state directory."""
    token = settings.token.get_secret_value()
    watched = AlertEvents(events)
    if settings.has_alerts:
        events = watched
    async with AsyncExitStack() as stack:
        database = Database.create(settings, events)
        if database.replica is None and not await database.open(stack, shutdown):
            return
        readiness = Readiness(inbox=database.inbox, replica=database.replica)
        pushed_messages = PushedMessages(database.store)
        send = None
        if settings.send_secret is not None:
            secret = settings.send_secret.get_secret_value()
            send = SendPage(secret, pushed_messages, events)
        health = Health(settings.health_address, readiness, send=send, status=status)
        await stack.enter_async_context(health)
        if database.replica is not None and not await database.open(stack, shutdown):
            logger.info("stopped")
            return
        client = await stack.enter_async_context(
            Client(token, settings.telegram_api_url, events, proxies=settings.proxies)
        )
        if settings.has_alerts:
            await stack.enter_async_context(
                Alerts(
                    settings=settings,
                    ways=alert_ways(settings, client),
                    keeper=AlertKeeper(database.store, database.replica_name),
                    events=watched,
                    state=readiness,
                    leadership=database.leadership,
                )
            )
        agent = agents.create_agent(settings)
        stack.push_async_callback(agent.close)
        transcriber = create_transcriber(settings, events)
        if transcriber is not None:
            stack.push_async_callback(transcriber.close)
        fallback = agents.create_fallback(settings)
        if fallback is not None:
            stack.push_async_callback(fallback.close)
        await _require_programs(settings, agent, fallback)
        _log_proxies(settings)
        if settings.webhook_url is None:
            # Also if Telegram cannot be reached, and no poll begins.
            events.emit(PollingStarted())
        connecting = connect(
            client,
            events=events,
            readiness=readiness,
            warning=open_directory(settings.state_dir),
        )
        identity = await run_unless(shutdown.requested, connecting)
        if identity is not None:
            gateway = Gateway(
                settings=settings,
                version=VERSION,
                identity=identity,
                inbox=database.inbox,
                store=database.store,
                pushed=pushed_messages,
                client=client,
                agent=agent,
                fallback=fallback,
                transcriber=transcriber,
                readiness=readiness,
                events=events,
                replica=database.replica,
            )
            if status is not None:
                status.gateway = gateway
            await gateway.run(shutdown)
    logger.info("stopped")


async def _require_programs(
    settings: Settings, agent: agents.Agent, fallback: agents.Agent | None
) -> None:
    """Raise OperatorError if the program of an agent `command` cannot be started."""
    for name, setting, each in (
        (settings.agent, "CROCBOT_AGENT_COMMAND", agent),
        (settings.fallback_agent, "CROCBOT_FALLBACK_COMMAND", fallback),
    ):
        if name != "command" or each is None:
            continue
        try:
            await each.check()
        except AgentError as error:
            raise OperatorError(f"{setting}: {error}") from error


def _log_proxies(settings: Settings) -> None:
    """Log which proxies are used, before the first request."""
    servers = {
        "telegram": settings.telegram_api_url,
        "agent": settings.agent_server,
        "fallback": settings.fallback.agent_server if settings.fallback else None,
        "transcription": settings.transcribe_url,
    }
    for server, url in servers.items():
        if url is not None and (proxy := settings.proxies.for_url(url)) is not None:
            logger.info("requests use a proxy", server=server, proxy=str(proxy))
