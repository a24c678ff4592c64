"""The stages of one bot, wired; from the greeting to the end."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from contextlib import suppress

from crocbot import envelope, fragments, log
from crocbot.access import AccessPolicy
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
from crocbot.service.greeting import persist
from crocbot.service.maintenance import Maintenance
from crocbot.service.readiness import Readiness
from crocbot.service.stopping import Stop, first, unless
from crocbot.service.strangers import Strangers
from crocbot.sessions import Sessions
from crocbot.settings import Settings
from crocbot.store import Store
from crocbot.turn import Asking, Turn

ADMITTED_PER_TURN = 4
# For few chats that write much: the others must be heard all the same, and /stop, too.
MOST_PER_TURN = 40

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
        settings: Settings,
        version: str,
        me: BotIdentity,
        rows: Inbox,
        store: Store,
        client: Client,
        agent: Agent,
        conditions: Readiness,
        events: EventListener,
    ) -> None:
        self._settings = settings
        self._version = version
        self._me = me
        self._inbox = rows
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
        self._turn = Turn(
            me,
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
            Strangers().note,
        )
        self._ending = Completion(
            rows, events, self._drop, log.Redactor(settings.secrets).redact
        )
        self._dispatcher = Dispatcher(
            self._take,
            self._ending.cancelled,
            RowClassifier(),
            max_turns=settings.max_turns,
            max_admitted=settings.max_turns * ADMITTED_PER_TURN,
            most_admitted=settings.max_turns * MOST_PER_TURN,
            gather_seconds=settings.gather_seconds,
            events=events,
        )
        self._watch = Maintenance(rows, self._dispatcher.admit, events)
        self._intake = self._webhook() if settings.webhook_url else self._poller()
        self._conditions = conditions
        conditions.greeted = True
        conditions.heard = lambda: self._intake.completed
        conditions.trouble = lambda: self._intake.trouble

    async def run(self, stop: Stop) -> None:
        """Take up what was left, take in until asked to stop, drain."""
        self._say_hello()
        left = await self._inbox.open_rows()
        if left:
            logger.info("taking up what an earlier run left open", rows=len(left))
        self._dispatcher.admit(left)
        try:
            await unless(stop.asked, self._work())
        finally:
            await self._drain(stop)

    async def _work(self) -> None:
        """Take in, and look after the inbox; only an error ends it."""
        await first(self._watch.run(), self._take_in())

    async def _take_in(self) -> None:
        if isinstance(self._intake, Poller):
            await self._unhook()
        await self._intake.run()

    async def _unhook(self) -> None:
        """Make room for polls; if that fails, the first of them tells more."""
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
            door(url, settings.webhook_key, listen),
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

        await persist(ask, self._events)

    async def _drain(self, stop: Stop) -> None:
        self._conditions.draining = True
        waiting = self._dispatcher.admitted
        if waiting:
            logger.info("finishing turns", rows=waiting)
        seconds = self._settings.drain_seconds
        left = await unless(stop.hurry, self._dispatcher.drain(seconds))
        if left is None:
            left = await self._dispatcher.drain(0)
        if left:
            logger.warning("left open for the next start", rows=left)
        with suppress(InboxError):
            await self._watch.tell()

    async def _accept(self, raws: Sequence[RawUpdate]) -> int:
        """Store, then admit: what is in memory only is lost in a crash."""
        rows = await self._inbox.accept(raws)
        self._dispatcher.admit(rows)
        return len(rows)

    async def _take(self, rows: Sequence[Row]) -> None:
        await self._ending.of(rows, self._turn.take)

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

    def _say_hello(self) -> None:
        logger.info(
            "gateway started",
            bot=f"@{self._me.username}",
            version=self._version,
            agent=self._agent.name,
            state_dir=str(self._settings.state_dir),
        )
        if self._policy.closed:
            logger.warning(
                "nobody is let in yet: write to the bot, this log will show your"
                " user id; then start again with CROCBOT_ALLOW_FROM set to it"
            )
