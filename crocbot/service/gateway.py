"""The stages of one bot, wired to each other: start, run, drain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from contextlib import suppress

from crocbot import log
from crocbot.access import privacy_warning
from crocbot.agents import Agent
from crocbot.botapi import (
    Client,
    LeaderPoller,
    OptionalCalls,
    Poller,
    Webhook,
    WebhookEndpoint,
)
from crocbot.chat_moves import ChatMoves
from crocbot.commands import Status, describe_status
from crocbot.dispatcher import Dispatcher
from crocbot.errors import InboxError
from crocbot.events import EventListener
from crocbot.inbox import Inbox
from crocbot.limits import Limits
from crocbot.model import BotIdentity, ChatThread
from crocbot.pushed import PushedMessages
from crocbot.pushing import Pushing
from crocbot.replicas.leader import Leadership, SoleLeader
from crocbot.replicas.limits import SharedLimits
from crocbot.replicas.sessions import LeasedSessions
from crocbot.reply import ChatOrder, Delivery
from crocbot.service.disk import DiskWatch
from crocbot.service.maintenance import Maintenance
from crocbot.service.readiness import Readiness
from crocbot.service.replica import Replica
from crocbot.service.shutdown import Shutdown, run_unless, run_until_first
from crocbot.service.stages import (
    StageBuilder,
    access_policy,
    build_fallback,
    build_file_loader,
)
from crocbot.sessions import Sessions
from crocbot.settings import Settings, advice
from crocbot.store import Store
from crocbot.transcription import Transcriber
from crocbot.turn import Acknowledger, Arrivals, TurnRunner, TurnStages

MAX_QUEUED_PER_TURN = 4
# While fewer chats than turns are active, so that updates of other chats, and /stop,
# are still received.
MAX_QUEUED_PER_TURN_FEW_CHATS = 40
PENDING_UPDATES_SECONDS = 60.0
STOP_SECONDS = 5.0

logger = log.logger(__name__)


class Gateway:
    """The stages of one bot, and the GatewayControl of its turns.  `run` it once."""

    def __init__(
        self,
        *,
        settings: Settings,
        version: str,
        identity: BotIdentity,
        inbox: Inbox,
        store: Store,
        pushed: PushedMessages,
        client: Client,
        agent: Agent,
        fallback: Agent | None = None,
        transcriber: Transcriber | None = None,
        readiness: Readiness,
        events: EventListener,
        replica: Replica | None = None,
    ) -> None:
        self._settings = settings
        self._version = version
        self._identity = identity
        self._inbox = inbox
        self._client = client
        self._agent = agent
        self._readiness = readiness
        self._events = events
        self._replica = replica
        self._leadership: Leadership = (
            SoleLeader() if replica is None else replica.leader
        )
        self._started = time.monotonic()
        files = build_file_loader(settings, client, transcriber, events)
        self._fallback = None
        if fallback is not None:
            self._fallback = build_fallback(fallback, settings, files, events)
        sessions = (Sessions if replica is None else LeasedSessions)(
            store, turns=settings.history_turns, chars=settings.history_chars
        )
        self._moves = ChatMoves(sessions, settings.groups, events)
        client.moves = self._moves
        self._order = ChatOrder()
        self._pushing = self._build_pushing(pushed)
        self._policy = access_policy(settings, self._moves)
        self._optional = OptionalCalls(client)
        stages = StageBuilder(
            settings=settings,
            identity=identity,
            store=store,
            limits=(Limits if replica is None else SharedLimits)(
                store, settings.limits
            ),
            client=client,
            optional=self._optional,
            order=self._order,
            sessions=sessions,
            moves=self._moves,
            policy=self._policy,
            agent=agent,
            files=files,
            fallback=self._fallback,
            events=events,
        ).build(self)
        self._acknowledger = self._build_acknowledger(stages)
        self._dispatcher = self._build_dispatcher(stages)
        self._maintenance = Maintenance(
            inbox=inbox,
            dispatcher=self._dispatcher,
            events=events,
            leadership=self._leadership,
        )
        self._update_source = self._build_update_source()
        readiness.update_source = self._update_source

    async def run(self, shutdown: Shutdown) -> None:
        """Resume open rows, receive updates until a stop is requested, drain."""
        self._log_start()
        if self._replica is None:
            await self._resume()
            await self._work(shutdown)
            return
        joining = self._replica.join(self._identity.user_id)
        if not await run_unless(shutdown.requested, joining):
            return
        self._connect(self._replica)
        background = asyncio.create_task(self._replica.run())
        try:
            await self._work(shutdown, asyncio.shield(background))
        finally:
            background.cancel()
            await asyncio.gather(background, return_exceptions=True)

    async def _resume(self) -> None:
        """Queue the open rows of an earlier process."""
        await self._moves.load()
        rows = await self._inbox.open_rows()
        if rows:
            suspects = sum(row.tries > 0 for row in rows)
            logger.info("resuming open rows", rows=len(rows), alone=suspects)
        self._dispatcher.resume(rows)

    async def _work(self, shutdown: Shutdown, *background: Awaitable[None]) -> None:
        """Run what receives and sends, until a stop is requested; then drain."""
        # All run for ever; only an error ends them.
        work = run_until_first(
            self._maintenance.run(),
            self._update_source.run(),
            self._pushing.run(),
            DiskWatch(directory=self._settings.state_dir, events=self._events).run(),
            self._count_pending_updates(),
            *map(_wait_for, background),
        )
        try:
            await run_unless(shutdown.requested, work)
        finally:
            await self._drain(shutdown)

    def _connect(self, replica: Replica) -> None:
        """Give the tasks of a replica what they work for."""
        replica.connect(
            client=self._client,
            moves=self._moves,
            worker=self._dispatcher,
            max_turns=self._settings.max_turns,
        )

    async def stop_turn(self, chat: ChatThread, draft: int | None) -> bool:
        """Cancel the turn that a chat is in; return whether there was one."""
        ended = self._dispatcher.stop_turn(chat.chat_id, draft)
        if ended is None:
            return False
        # What the answer has shown comes before the reply to the command.
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await ended.wait()
        return True

    def status(self) -> Status:
        """Return what /status shows."""
        now, contacted = time.monotonic(), self._update_source.completed_at
        fallback, replica = self._fallback, self._replica
        since = None if fallback is None else fallback.failing_since
        name, leader, chats = (None,) * 3 if replica is None else replica.describe()
        return Status(
            version=self._version,
            agent=self._agent.name,
            uptime=now - self._started,
            queued=self._dispatcher.queued,
            contact_age=None if contacted is None else now - contacted,
            fallback=None if fallback is None else fallback.agent.name,
            failing_for=None if since is None else now - since,
            replica=name,
            leader=leader,
            chats=chats,
        )

    def status_lines(self) -> Sequence[str]:
        """Return what /status shows, for the health address."""
        return describe_status(self.status(), in_chat=False)

    def _build_acknowledger(self, stages: TurnStages) -> Acknowledger | None:
        if not self._settings.acknowledge:
            return None
        return Acknowledger(
            emoji=self._settings.acknowledge,
            calls=self._optional,
            stages=stages,
            events=self._events,
        )

    def _build_dispatcher(self, stages: TurnStages) -> Dispatcher:
        settings = self._settings
        return Dispatcher(
            inbox=self._inbox,
            runner=TurnRunner(
                stages=stages,
                arrivals=Arrivals(
                    stages=stages,
                    inbox=self._inbox,
                    client=self._client,
                    events=self._events,
                ),
                acknowledger=self._acknowledger,
                inbox=self._inbox,
                events=self._events,
                redactor=log.Redactor(settings.secrets),
            ),
            events=self._events,
            moves=self._moves,
            max_turns=settings.max_turns,
            max_queued=settings.max_turns * MAX_QUEUED_PER_TURN,
            max_queued_few_chats=settings.max_turns * MAX_QUEUED_PER_TURN_FEW_CHATS,
            gather_seconds=settings.gather_seconds,
            backlog=self._replica,
        )

    def _build_pushing(self, pushed: PushedMessages) -> Pushing:
        return Pushing(
            messages=pushed,
            delivery=Delivery(client=self._client, events=self._events, keeper=pushed),
            order=self._order,
            moves=self._moves,
            events=self._events,
            redactor=log.Redactor(self._settings.secrets),
            holder=None if self._replica is None else self._replica.chats,
        )

    def _build_update_source(self) -> Poller | LeaderPoller | Webhook:
        settings = self._settings
        if settings.webhook_url is None and self._replica is None:
            return Poller(
                client=self._client, dispatcher=self._dispatcher, events=self._events
            )
        if settings.webhook_url is None:
            return LeaderPoller(
                client=self._client,
                dispatcher=self._dispatcher,
                events=self._events,
                leadership=self._leadership,
            )
        return Webhook(
            endpoint=WebhookEndpoint.create(
                settings.webhook_url, settings.webhook_key, settings.webhook_listen
            ),
            client=self._client,
            dispatcher=self._dispatcher,
            events=self._events,
            leadership=self._leadership,
        )

    async def _count_pending_updates(self) -> None:
        while True:
            await self._leadership.wait_for_term()
            await self._client.count_pending_updates()
            await asyncio.sleep(PENDING_UPDATES_SECONDS)

    async def _drain(self, shutdown: Shutdown) -> None:
        """Wait for turns to end, within the drain time; other rows stay open."""
        self._readiness.draining = True
        if self._replica is not None:
            await self._replica.resign()
        if self._dispatcher.queued:
            logger.info("finishing turns", rows=self._dispatcher.queued)
        seconds = self._settings.drain_seconds
        left = await run_unless(shutdown.hurried, self._finish(seconds))
        if left is None:
            left = await self._finish(0)
        if self._acknowledger is not None:
            # Under the leases of the chats.
            await self._acknowledger.close()
        if self._replica is not None:
            await self._replica.leave()
        if left:
            logger.warning("left open for the next start", rows=left)
        if self._replica is None:
            with suppress(InboxError):
                await self._maintenance.emit_ledger()

    async def _finish(self, seconds: float) -> int:
        """Wait for turns and pushed messages; return how many rows are left open."""
        left, _ = await asyncio.gather(
            self._dispatcher.drain(seconds), self._pushing.drain(seconds)
        )
        return left

    def _log_start(self) -> None:
        logger.info(
            "gateway started",
            bot=f"@{self._identity.username}",
            version=self._version,
            agent=self._agent.name,
            fallback=self._settings.fallback_agent or "none",
            state_dir=str(self._settings.state_dir),
        )
        if warning := privacy_warning(self._identity, self._settings.groups):
            logger.warning(warning)
        for text in advice(self._settings):
            logger.warning(text)
        if self._policy.closed:
            logger.warning(
                "CROCBOT_ALLOW_FROM is empty: write to the bot, this log shows your"
                " user id; set CROCBOT_ALLOW_FROM to it and start again"
            )


async def _wait_for(task: Awaitable[None]) -> None:
    await task
