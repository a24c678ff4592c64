"""
The alerts of one process: conditions each second, and a task for each way.

Nothing here waits for long: not for a disk that hangs, nor for a way that does not
answer.  A way that fails is tried again after pauses that grow.

Where replicas share a database only the leader tells alerts, of all of them, and a new
leader goes on where the last one ended.  A leader that loses the database goes on
telling until it knows of another leader; what it told meanwhile it also tells the end
of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeVar

from crocbot import log
from crocbot.alert_outcomes import AlertWay, NoticeOutcome
from crocbot.alerts.conditions import Conditions, Counts, GatewayState
from crocbot.alerts.events import AlertEvents
from crocbot.alerts.keep import AlertKeeper
from crocbot.alerts.reports import Reports
from crocbot.alerts.state import AlertState, Notice, Notices, Told, firing_since
from crocbot.alerts.table import ALERTS, AlertName
from crocbot.alerts.ways import ChatWay, Way, WebhookWay
from crocbot.backoff import Backoff
from crocbot.errors import CrocbotError, FloodWaitError, StoreError
from crocbot.events import AlertNotice
from crocbot.replicas.leader import Leadership, SoleLeader, Term
from crocbot.settings import Settings

if TYPE_CHECKING:
    from crocbot.botapi import Client

INTERVAL_SECONDS = 1.0
COUNT_EVERY_SECONDS = 5.0
DISK_SECONDS = 2.0
LAST_SECONDS = 5.0
FIRST_PAUSE_SECONDS = 5.0
MAX_PAUSE_SECONDS = 300.0

Result = TypeVar("Result")
logger = log.logger(__name__)


def alert_ways(settings: Settings, client: Client) -> Sequence[Way]:
    """Return the ways that are set."""
    ways: list[Way] = []
    if settings.alert_chat is not None:
        chat = ChatWay(client, settings.alert_chat, runbooks=settings.runbooks_url)
        ways.append(chat)
    if settings.alert_webhook is not None:
        webhook = WebhookWay(
            settings.alert_webhook.get_secret_value(),
            bot=settings.token.get_secret_value().partition(":")[0],
            runbooks=settings.runbooks_url,
            proxies=settings.proxies,
        )
        ways.append(webhook)
    return ways


@contextmanager
def _bugs_logged() -> Iterator[None]:
    """Log an exception, which is a bug and must not end the alerts."""
    try:
        yield
    except Exception as error:
        logger.error("bug in the alerts", exc_info=error)


@dataclass(slots=True, kw_only=True)
class Sender:
    """
    One way, what it has told, and when it may be tried again.

    `was_sent` is set when a message was sent, so that it is recorded at once.
    """

    way: Way
    notices: Notices
    keeper: AlertKeeper
    events: AlertEvents
    was_sent: asyncio.Event
    is_changed: bool = field(default=False, init=False)
    _unsaved: set[AlertName] = field(default_factory=set, init=False)
    _pauses: Backoff = field(
        default_factory=lambda: Backoff(
            first=FIRST_PAUSE_SECONDS, factor=2.0, longest=MAX_PAUSE_SECONDS
        ),
        init=False,
    )
    _rests_until: float = field(default=0.0, init=False)

    def update(self, name: AlertName, state: AlertState, now: float) -> None:
        """Follow the state of an alert, unless the way cannot send it."""
        if name not in self.way.skips:
            self.is_changed |= self.notices.update(name, state, now)

    def restore(self, told: Mapping[AlertName, Told]) -> None:
        """Go on where another process has ended."""
        self._unsaved.clear()
        self.notices.told |= told

    def resume(self, told: Mapping[AlertName, Told]) -> None:
        """Go on where another process may have ended, except for what is not saved."""
        own = self.notices.told
        self.notices.told = {
            name: each for name, each in told.items() if name not in self._unsaved
        } | {name: own[name] for name in own if name in self._unsaved}

    async def save(self) -> None:
        """
        Record what was told, if that has changed; raise StoreError.

        A replica that is cut off and back may learn only here that another one leads.
        """
        if not self.is_changed:
            return
        self.is_changed, saving = False, set(self._unsaved)
        try:
            saved = await self.keeper.save(self.way.name, self.notices.told)
        except StoreError:
            self.is_changed = True
            raise
        if saved:
            self._unsaved -= saving

    def hand_over(self, now: float) -> None:
        """Leave all alerts to another process, but those that it does not know of."""
        self.notices.told = {
            name: Told(since=told.since, at=told.at, ended=now)
            for name, told in self.notices.told.items()
            if name in self._unsaved and told.at is not None
        }
        self.is_changed = False
        self._unsaved.clear()

    async def run(self) -> None:
        """Send what is due, until cancelled."""
        while True:
            with _bugs_logged():
                if asyncio.get_running_loop().time() >= self._rests_until:
                    await self.send_due()
            await asyncio.sleep(INTERVAL_SECONDS)

    async def send_due(self) -> None:
        """Send what is due, until one fails."""
        for notice in list(self.notices.due(self.keeper.now)):
            if not await self._send(notice):
                return

    async def _send(self, notice: Notice) -> bool:
        outcome, name = NoticeOutcome.FAILED, str(notice.name)
        try:
            await self.way.send(notice, wall_offset=self.keeper.wall_offset)
            outcome = NoticeOutcome.SENT
        except (CrocbotError, TimeoutError) as error:
            self._rest(notice, error)
        except Exception as error:
            logger.error("bug in an alert", exc_info=error)
            self._rest(notice, error)
        else:
            self._pauses.reset()
            self.notices.sent(notice)
            self.is_changed = True
            self._unsaved.add(notice.name)
            self.was_sent.set()
            logger.info(
                "alert sent", alert=name, kind=str(notice.kind), way=self.way.name
            )
        self.events.emit(AlertNotice(self.way.name, outcome))
        return outcome is NoticeOutcome.SENT

    def _rest(self, notice: Notice, error: Exception) -> None:
        pause = self._pauses.next_pause()
        if isinstance(error, FloodWaitError):
            pause = max(pause, error.seconds)
        self._rests_until = asyncio.get_running_loop().time() + pause
        logger.warning(
            "alert not sent",
            alert=str(notice.name),
            way=self.way.name,
            error=str(error) or type(error).__name__,
            next_in=round(pause, 1),
        )


class Alerts:
    """
    Watches one gateway; enter it when its database is open.

    It tells alerts while `leadership` says that this process is the leader.  `counts`
    is what was last counted in the database.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        ways: Sequence[Way],
        keeper: AlertKeeper,
        events: AlertEvents,
        state: GatewayState,
        leadership: Leadership | None = None,
    ) -> None:
        self._leadership = leadership or SoleLeader()
        self._term: Term | None = None
        self._keeper = keeper
        self._events = events
        self._conditions = Conditions(events=events, state=state)
        self._reports: Reports | None = None
        if keeper.replica is not None:
            self._reports = Reports(events=events, keeper=keeper)
        self._states = {
            name: AlertState(
                after_seconds=settings.alert_after_seconds if alert.lasts else 0.0,
                clear_seconds=settings.alert_clear_seconds,
            )
            for name, alert in ALERTS.items()
        }
        self._was_sent = asyncio.Event()
        self._senders = [
            Sender(
                way=way,
                notices=Notices(
                    repeat_seconds=settings.alert_repeat_seconds,
                    clear_seconds=settings.alert_clear_seconds,
                ),
                keeper=keeper,
                events=events,
                was_sent=self._was_sent,
            )
            for way in ways
        ]
        self.counts = Counts()
        self._count_at = self._exchange_at = 0.0
        self._on_disk: asyncio.Task[Any] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._bounded(self._keeper.record_start())
        await self._follow_leadership()
        works = [self._watch(), *(sender.run() for sender in self._senders)]
        self._tasks = [asyncio.create_task(work) for work in works]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop; that the token is refused, which ends the process, is told before."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._events.token_refused and await self._may_tell():
            self._update()
            last = asyncio.gather(*(sender.send_due() for sender in self._webhooks))
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_SECONDS):
                    await last
            await self._save()
        for sender in self._senders:
            await sender.way.close()

    @property
    def _webhooks(self) -> list[Sender]:
        return [each for each in self._senders if each.way.name is AlertWay.WEBHOOK]

    def _restore(self, told: Mapping[AlertWay, dict[AlertName, Told]]) -> None:
        """Go on where an earlier process ended: an alert fires until it is over."""
        for sender in self._senders:
            found = told.get(sender.way.name, {})
            if self._term is None:
                sender.restore(found)
            else:
                # Another replica may have led since this one was paused.
                sender.resume(found)
        firing = self._told_firing
        for name, state in self._states.items():
            if name in firing and not state.is_firing:
                state.is_firing, state.since = True, firing[name]
                state.held_at = self._keeper.now
            elif name not in firing:
                state.is_firing = False

    @property
    def firing(self) -> Collection[AlertName]:
        """Return the alerts that fire now."""
        return {name for name, state in self._states.items() if state.is_firing}

    @property
    def _told_firing(self) -> Mapping[AlertName, float]:
        """Return the alerts that a way was told of and that fire, and since when."""
        return firing_since(sender.notices.told for sender in self._senders)

    async def _watch(self) -> None:
        while True:
            with _bugs_logged():
                await self._follow_leadership()
                await self._exchange()
                if self._term is not None:
                    await self._count()
                    self._update()
                    await self._save()
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL_SECONDS):
                    await self._was_sent.wait()
            self._was_sent.clear()

    async def _follow_leadership(self) -> None:
        """Go on where the last leader ended, or leave the alerts to the next one."""
        term = self._leadership.term
        if term is self._term:
            return
        if term is not None:
            told = await self._bounded(self._keeper.told())
            if told is None and term.epoch is not None:
                # What another replica has told would be told again.
                return
            self._restore(told or {})
        elif term is None and self._leadership.leader is None:
            # The database gives no answer, so that no other replica is known to lead.
            return
        elif term is None:
            self._hand_over()
        self._term = term

    async def _may_tell(self) -> bool:
        """Return whether no other replica tells what ends this process."""
        if self._term is None and self._leadership.leader is None:
            told = await self._bounded(self._keeper.told())
            self._restore(told or {})
            return True
        return self._term is not None

    def _hand_over(self) -> None:
        for sender in self._senders:
            sender.hand_over(self._keeper.now)
        for state in self._states.values():
            state.is_firing, state.since = False, None

    async def _exchange(self) -> None:
        """Exchange reports with other replicas, every COUNT_EVERY_SECONDS."""
        now = asyncio.get_running_loop().time()
        if self._reports is None or now < self._exchange_at:
            return
        self._exchange_at = now + COUNT_EVERY_SECONDS
        await self._bounded(self._reports.exchange())
        if self._term is None:
            told = await self._bounded(self._keeper.told())
            if told is not None:
                # Events of an alert that the leader has told the end of are over.
                self._conditions.forget_ended(firing_since(told.values()))

    async def _count(self) -> None:
        """Count what is in the database, every COUNT_EVERY_SECONDS."""
        now = asyncio.get_running_loop().time()
        if now < self._count_at:
            return
        self._count_at = now + COUNT_EVERY_SECONDS
        counts = await self._bounded(self._keeper.counts())
        if counts is not None:
            self.counts = counts

    def _update(self) -> None:
        """Look at all conditions."""
        now = self._keeper.now
        for name, value in self._conditions.check(self.counts, self.firing).items():
            state = self._states[name]
            state.update(now, value)
            for sender in self._senders:
                sender.update(name, state, now)

    async def _save(self) -> None:
        """Record what was told, as far as the disk lets."""
        for sender in self._senders:
            await self._bounded(sender.save())

    async def _bounded(self, work: Coroutine[Any, Any, Result]) -> Result | None:
        """Return the result of work on the disk; None if it fails or takes long."""
        if self._on_disk is not None and not self._on_disk.done():
            work.close()
            return None
        task = asyncio.create_task(work)
        # Or asyncio would log an error that comes too late.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._on_disk = task
        done, _ = await asyncio.wait({task}, timeout=DISK_SECONDS)
        if not done:
            return None
        try:
            return task.result()
        except StoreError as error:
            logger.debug("alerts cannot be kept", error=str(error))
            return None
