"""The stages of one bot, wired to each other: start, run, drain."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from contextlib import suppress

from crocbot import envelope, fragments, log
from crocbot.access import AccessPolicy, DenialLog
from crocbot.agents import Agent, Limits
from crocbot.botapi import Client, Door, Poller, Webhook, door
from crocbot.commands import Commands, Status
from crocbot.dispatcher import Dispatcher
from crocbot.errors import CrocbotError, DeliveryError, InboxError, OperatorError
from crocbot.events import EventListener
from crocbot.inbox import Inbox
from crocbot.model import BotIdentity, Message, RawUpdate, Row
from crocbot.pairing import Pairings
from crocbot.reply import Delivery, Stream
from crocbot.service.completion import Completion
from crocbot.service.maintenance import Maintenance
from crocbot.service.readiness import Readiness
from crocbot.service.shutdown import Shutdown, run_unless, run_until_first
from crocbot.service.startup import retry_until_connected
from crocbot.sessions import Sessions
from crocbot.settings import Settings
from crocbot.store import Store
from crocbot.turn import Asking, Turn

ADMITTED_PER_TURN = 4
# Where few chats write much; other chats, and /stop, must still be taken in.
MAX_ADMITTED_PER_TURN = 40

logger = log.logger(__name__)


class RowClassifier:
    """What the dispatcher asks about a raw update."""

    key = staticmethod(envelope.chat_key)
    urgent = staticmethod(envelope.is_stop)
    may_continue = staticmethod(fragments.may_continue)
    continues = staticmethod(fragments.continues)


class Gateway:
    """The stages of one bot.  `run` it once."""

    def __init__(
        self,
        *,
        settings: Settings,
        version: str,
        identity: BotIdentity,
        inbox: Inbox,
        store: Store,
        client: Client,
        agent: Agent,
        readiness: Readiness,
        events: EventListener,
    ) -> None:
        self._settings = settings
        self._version = version
        self._identity = identity
        self._inbox = inbox
        self._client = client
        self._events = events
        self._started = time.monotonic()
        self._agent = agent
        self._policy = AccessPolicy(
            settings.allow_from,
            everyone=settings.access == "open",
            pairing=settings.access == "pairing",
            groups=settings.groups,
            operators=settings.operators,
        )
        memory = Sessions(
            store, turns=settings.history_turns, chars=settings.history_chars
        )
        courier = Delivery(client, events)
        turn = Turn(
            identity,
            self._policy,
            Pairings(store),
            Commands(self._status, self._stop, memory.forget, memory.usage),
            Asking(
                agent,
                Limits(settings.agent_first_byte_seconds, settings.agent_total_seconds),
                memory,
                Stream(courier),
                events,
                client.download,
                settings.media_max_bytes,
            ),
            courier,
            self._is_overtaken,
            DenialLog(),
        )
        completion = Completion(
            turn=turn,
            inbox=inbox,
            events=events,
            drop=self._drop,
            redactor=log.Redactor(settings.secrets),
        )
        self._dispatcher = Dispatcher(
            completion.run,
            completion.cancel,
            RowClassifier(),
            max_turns=settings.max_turns,
            max_admitted=settings.max_turns * ADMITTED_PER_TURN,
            most_admitted=settings.max_turns * MAX_ADMITTED_PER_TURN,
            gather_seconds=settings.gather_seconds,
            events=events,
        )
        self._maintenance = Maintenance(
            inbox=inbox, dispatcher=self._dispatcher, events=events
        )
        self._intake = self._webhook() if settings.webhook_url else self._poller()
        self._readiness = readiness
        readiness.intake = self._intake

    async def run(self, shutdown: Shutdown) -> None:
        """Take up open rows, take in updates until a stop is requested, drain."""
        self._log_start()
        rows = await self._inbox.open_rows()
        if rows:
            logger.info("taking up what an earlier run left open", rows=len(rows))
        self._dispatcher.admit(rows)
        # Neither ends but by an error.
        work = run_until_first(self._maintenance.run(), self._take_in())
        try:
            await run_unless(shutdown.requested, work)
        finally:
            await self._drain(shutdown)

    async def _take_in(self) -> None:
        if isinstance(self._intake, Poller):
            await self._delete_webhook()
        await self._intake.run()

    async def _delete_webhook(self) -> None:
        """Allow polls; if that fails, the error of the first poll says more."""
        try:
            await self._client.delete_webhook()
        except OperatorError:
            raise
        except CrocbotError as error:
            logger.warning("the webhook could not be deleted", error=str(error))

    def _poller(self) -> Poller:
        return Poller(
            self._client.get_updates,
            self._accept,
            self._dispatcher.room,
            self._events,
            self._client.renew_polling,
            self._client.delete_webhook,
        )

    def _webhook(self) -> Webhook:
        settings = self._settings
        url, listen = settings.webhook_url or "", settings.webhook_listen
        return Webhook(
            door(url, settings.webhook_key, str(listen)),
            self._hook,
            self._client.get_webhook_info,
            self._accept,
            self._dispatcher.room,
            self._events,
        )

    async def _hook(self, where: Door) -> None:
        async def ask() -> None:
            try:
                await self._client.set_webhook(where)
            except DeliveryError as error:
                raise OperatorError(f"CROCBOT_WEBHOOK_URL: {error}") from error

        await retry_until_connected(ask, self._events, self._readiness)

    async def _drain(self, shutdown: Shutdown) -> None:
        """Wait for turns to end, within the drain time; other rows stay open."""
        self._readiness.draining = True
        if self._dispatcher.admitted:
            logger.info("finishing turns", rows=self._dispatcher.admitted)
        seconds = self._settings.drain_seconds
        left = await run_unless(shutdown.hurried, self._dispatcher.drain(seconds))
        if left is None:
            left = await self._dispatcher.drain(0)
        if left:
            logger.warning("left open for the next start", rows=left)
        with suppress(InboxError):
            await self._maintenance.emit_ledger()

    async def _accept(self, raws: Sequence[RawUpdate]) -> int:
        """Store updates, then admit them; return how many were new."""
        rows = await self._inbox.accept(raws)
        self._dispatcher.admit(rows)
        return len(rows)

    def _is_overtaken(self, message: Message) -> bool:
        return self._dispatcher.waiting(message.chat.chat_id) > 0

    def _stop(self, message: Message) -> bool:
        return self._dispatcher.stop(message.chat.chat_id)

    def _drop(self, row: Row) -> Sequence[Row]:
        key: Hashable = envelope.chat_key(row.raw)
        return self._dispatcher.drop(key)

    def _status(self) -> Status:
        now, polled = time.monotonic(), self._intake.completed
        return Status(
            self._version,
            self._agent.name,
            now - self._started,
            self._dispatcher.admitted,
            None if polled is None else now - polled,
        )

    def _log_start(self) -> None:
        logger.info(
            "gateway started",
            bot=f"@{self._identity.username}",
            version=self._version,
            agent=self._agent.name,
            state_dir=str(self._settings.state_dir),
        )
        if self._policy.closed:
            logger.warning(
                "nobody is let in yet: write to the bot, this log will show your"
                " user id; then start again with CROCBOT_ALLOW_FROM set to it"
            )
