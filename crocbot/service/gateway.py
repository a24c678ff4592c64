"""The stages of one bot, wired to each other: start, run, drain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

from crocbot import log
from crocbot.access import AccessPolicy, DenialLog, privacy_warning
from crocbot.agents import Agent, ThinkingTags, Timeouts
from crocbot.botapi import Client, OptionalCalls, Poller, Webhook, WebhookEndpoint
from crocbot.chat_moves import ChatMoves
from crocbot.classic_forms import ClassicForms
from crocbot.commands import Commands, Status, describe_status
from crocbot.dispatcher import Dispatcher
from crocbot.edits import Edits
from crocbot.errors import InboxError
from crocbot.events import EventListener
from crocbot.fetch import Fetcher
from crocbot.inbox import Inbox, KeptReplies
from crocbot.limits import Limits
from crocbot.model import BotIdentity, ChatThread
from crocbot.pairing import Pairings
from crocbot.pushed import PushedMessages
from crocbot.pushing import Pushing
from crocbot.reply import ChatOrder, Delivery, Drafts, LiveDelivery, RichDelivery
from crocbot.service.disk import DiskWatch
from crocbot.service.maintenance import Maintenance
from crocbot.service.readiness import Readiness
from crocbot.service.shutdown import Shutdown, run_unless, run_until_first
from crocbot.sessions import Sessions
from crocbot.settings import Settings, advice
from crocbot.spending import Spending
from crocbot.store import Store
from crocbot.transcription import Transcriber
from crocbot.turn import (
    Accounts,
    Acknowledger,
    Admission,
    AgentStep,
    Arrivals,
    EnclosureReaders,
    Fallback,
    FileLoader,
    TurnRunner,
    TurnStages,
)

MAX_QUEUED_PER_TURN = 4
# While fewer chats than turns are active, so that updates of other chats, and /stop,
# are still received.
MAX_QUEUED_PER_TURN_FEW_CHATS = 40
PENDING_UPDATES_SECONDS = 60.0
STOP_SECONDS = 5.0

# In answers a shorter secret is not replaced: it may be an ordinary word.
MIN_REDACTED_CHARS = 8

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
    ) -> None:
        self._settings = settings
        self._version = version
        self._identity = identity
        self._inbox = inbox
        self._client = client
        self._optional = OptionalCalls(client)
        self._acknowledger: Acknowledger | None = None
        self._agent = agent
        self._transcriber = transcriber
        self._readiness = readiness
        self._events = events
        self._files = self._build_file_loader()
        self._limits = Limits(store, settings.limits)
        self._fallback = None if fallback is None else self._build_fallback(fallback)
        self._started = time.monotonic()
        self._sessions = Sessions(
            store, turns=settings.history_turns, chars=settings.history_chars
        )
        self._moves = ChatMoves(self._sessions, settings.groups, events)
        client.moves = self._moves
        self._order = ChatOrder()
        self._pushing = self._build_pushing(pushed)
        self._policy = _access_policy(settings, self._moves)
        self._dispatcher = self._build_dispatcher(store)
        self._maintenance = Maintenance(
            inbox=inbox, dispatcher=self._dispatcher, events=events
        )
        self._update_source = self._build_update_source()
        readiness.update_source = self._update_source

    async def run(self, shutdown: Shutdown) -> None:
        """Resume open rows, receive updates until a stop is requested, drain."""
        self._log_start()
        await self._moves.load()
        rows = await self._inbox.open_rows()
        if rows:
            suspects = sum(row.tries > 0 for row in rows)
            logger.info("resuming open rows", rows=len(rows), alone=suspects)
        self._dispatcher.resume(rows)
        # All run for ever; only an error ends them.
        work = run_until_first(
            self._maintenance.run(),
            self._update_source.run(),
            self._pushing.run(),
            DiskWatch(directory=self._settings.state_dir, events=self._events).run(),
            self._count_pending_updates(),
        )
        try:
            await run_unless(shutdown.requested, work)
        finally:
            await self._drain(shutdown)

    async def stop_turn(self, chat: ChatThread, draft: int | None) -> bool:
        """Cancel the turn that a chat is in; return whether there was one."""
        ended = self._dispatcher.stop_turn(chat.chat_id, draft)
        if ended is None:
            return False
        # What the answer has shown comes before the reply to the command.
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), STOP_SECONDS)
        return True

    def status(self) -> Status:
        """Return what /status shows."""
        now, contacted = time.monotonic(), self._update_source.completed_at
        fallback = self._fallback
        since = None if fallback is None else fallback.failing_since
        return Status(
            version=self._version,
            agent=self._agent.name,
            uptime=now - self._started,
            queued=self._dispatcher.queued,
            contact_age=None if contacted is None else now - contacted,
            fallback=None if fallback is None else fallback.agent.name,
            failing_for=None if since is None else now - since,
        )

    def status_lines(self) -> Sequence[str]:
        """Return what /status shows, for the health address."""
        return describe_status(self.status(), in_chat=False)

    def _build_dispatcher(self, store: Store) -> Dispatcher:
        settings = self._settings
        stages = self._build_stages(store)
        if settings.acknowledge:
            self._acknowledger = Acknowledger(
                emoji=settings.acknowledge,
                calls=self._optional,
                stages=stages,
                events=self._events,
            )
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
        )

    def _build_stages(self, store: Store) -> TurnStages:
        settings = self._settings
        kept = KeptReplies(store)
        delivery = Delivery(
            client=self._client, events=self._events, keeper=kept, order=self._order
        )
        drafts = Drafts(calls=self._optional, delivery=delivery)
        rich = RichDelivery(
            enabled=settings.rich,
            calls=self._optional,
            forms=ClassicForms(store),
            events=self._events,
        )
        redactor = log.Redactor(settings.secrets, min_chars=MIN_REDACTED_CHARS)
        accounts = self._build_accounts(store)
        admission = None
        if settings.limits:
            admission = Admission(limits=self._limits, events=self._events)
        return TurnStages(
            bot=self._identity,
            admission=admission,
            policy=self._policy,
            pairings=Pairings(store),
            denials=DenialLog(),
            commands=Commands(
                gateway=self,
                sessions=self._sessions,
                events=self._events,
                spending=None if accounts is None else accounts.spending,
            ),
            moves=self._moves,
            agent_step=AgentStep(
                agent=self._agent,
                timeouts=Timeouts(
                    first_byte=settings.agent_first_byte_seconds,
                    total=settings.agent_total_seconds,
                ),
                sessions=self._sessions,
                files=self._files,
                live=LiveDelivery(delivery=delivery, drafts=drafts, rich=rich),
                events=self._events,
                redactor=redactor,
                thinking=None if settings.keep_thinking else ThinkingTags(),
                enclosures=EnclosureReaders(
                    keeper=kept,
                    fetcher=Fetcher(sorted(settings.fetch_hosts)),
                    events=self._events,
                    redactor=redactor,
                    max_bytes=settings.files_max_bytes,
                ),
                fallback=self._fallback,
                accounts=accounts,
            ),
            delivery=delivery,
            rich=rich,
            edits=Edits(store, self._events, mode=settings.edits),
            events=self._events,
        )

    def _build_pushing(self, pushed: PushedMessages) -> Pushing:
        return Pushing(
            messages=pushed,
            delivery=Delivery(client=self._client, events=self._events, keeper=pushed),
            order=self._order,
            moves=self._moves,
            events=self._events,
            redactor=log.Redactor(self._settings.secrets),
        )

    def _build_accounts(self, store: Store) -> Accounts | None:
        """Return what counts tokens and costs; None if there can be neither."""
        settings = self._settings
        agents = {settings.agent, settings.fallback_agent or settings.agent}
        if agents == {"echo"} and not settings.limits and settings.prices is None:
            return None
        accounts = Accounts(
            limits=self._limits,
            spending=Spending(store, settings.prices is not None),
            models=settings.priced_models,
            events=self._events,
        )
        accounts.start()
        return accounts

    def _build_fallback(self, agent: Agent) -> Fallback:
        return Fallback(
            agent=agent,
            files=self._files,
            events=self._events,
            thinking=None if self._settings.keep_thinking else ThinkingTags(),
        )

    def _build_file_loader(self) -> FileLoader:
        return FileLoader(
            client=self._client,
            events=self._events,
            max_bytes=self._settings.media_max_bytes,
            transcriber=self._transcriber,
            redactor=log.Redactor(self._settings.secrets, min_chars=MIN_REDACTED_CHARS),
        )

    def _build_update_source(self) -> Poller | Webhook:
        settings = self._settings
        if settings.webhook_url is None:
            return Poller(
                client=self._client, dispatcher=self._dispatcher, events=self._events
            )
        return Webhook(
            endpoint=WebhookEndpoint.create(
                settings.webhook_url, settings.webhook_key, settings.webhook_listen
            ),
            client=self._client,
            dispatcher=self._dispatcher,
            events=self._events,
        )

    async def _count_pending_updates(self) -> None:
        while True:
            await self._client.count_pending_updates()
            await asyncio.sleep(PENDING_UPDATES_SECONDS)

    async def _drain(self, shutdown: Shutdown) -> None:
        """Wait for turns to end, within the drain time; other rows stay open."""
        self._readiness.draining = True
        if self._dispatcher.queued:
            logger.info("finishing turns", rows=self._dispatcher.queued)
        seconds = self._settings.drain_seconds
        left = await run_unless(shutdown.hurried, self._finish(seconds))
        if left is None:
            left = await self._finish(0)
        if left:
            logger.warning("left open for the next start", rows=left)
        if self._acknowledger is not None:
            await self._acknowledger.close()
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


def _access_policy(settings: Settings, moves: ChatMoves) -> AccessPolicy:
    return AccessPolicy(
        listed=settings.allow_from,
        everyone=settings.access == "open",
        pairing=settings.access == "pairing",
        groups=moves.groups,
        operators=settings.operators,
    )
