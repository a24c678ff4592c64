"""
THE WIRING: start, run, drain, stop.

    start   lock the state directory, open the inbox, start telemetry, greet Telegram
    run     rows that an earlier run left open first, then poll
    stop    stop polling, finish turns until CROCBOT_DRAIN_SECONDS, leave the rest open
            in the inbox, close it, flush telemetry last

Asked to stop a second time, it stops waiting for turns.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from importlib.metadata import version
from typing import Any, TypeVar

from crocbot import envelope, inbox, log
from crocbot.access import Policy
from crocbot.agents import Agent, Echo
from crocbot.botapi import Client, Poller
from crocbot.commands import MENU, Commands, Status
from crocbot.dispatcher import Dispatcher
from crocbot.errors import (
    CrocbotError,
    DeliveryError,
    FloodWaitError,
    InboxError,
    OperatorError,
    TelegramError,
)
from crocbot.facts import Report
from crocbot.model import (
    Decision,
    Disposition,
    ErrorType,
    Identity,
    Message,
    Outcome,
    Raw,
    Row,
    Severity,
    Trouble,
    Verdict,
)
from crocbot.reply import Courier
from crocbot.settings import Settings
from crocbot.telemetry import Telemetry
from crocbot.turn import Turn

VERSION = version("crocbot")
ADMITTED_PER_TURN = 4
MOST_STRANGERS = 1000
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0

Result = TypeVar("Result")
logger = log.logger(__name__)


class Stop:
    """What the operator asked for: once to stop, once more to hurry."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurry = asyncio.Event()

    def ask(self) -> None:
        """Ask to stop."""
        (self.hurry if self.asked.is_set() else self.asked).set()


async def main(settings: Settings) -> None:
    """Run the gateway until a signal stops it."""
    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.ask)
    await run(settings, stop)


async def check(settings: Settings) -> Identity:
    """Ask Telegram once who we are; changes nothing anywhere."""
    token = settings.token.get_secret_value()
    async with Client(token, settings.telegram_api_url) as client:
        return await client.get_me()


async def run(settings: Settings, stop: Stop) -> None:
    """Run the gateway until asked to stop; raises OperatorError."""
    with inbox.locked(settings.state_dir):
        host, port = settings.statsd_host, settings.statsd_port
        telemetry = Telemetry(host, port, version=VERSION)
        await telemetry.start()
        try:
            await serve(settings, telemetry.report, stop)
        finally:
            await telemetry.stop()


async def serve(settings: Settings, report: Report, stop: Stop) -> None:
    """Serve one bot; the state directory is locked, facts go to `report`."""
    token = settings.token.get_secret_value()
    async with (
        inbox.Inbox(settings.state_dir / inbox.FILE) as rows,
        Client(token, settings.telegram_api_url) as client,
    ):
        me = await _unless(stop.asked, _greet(client, report))
        if me is not None:
            await Gateway(settings, me, rows, client, report).run(stop)
    logger.info("stopped")


class Gateway:
    """The stages of one bot, wired.  Lives from the greeting to the end."""

    def __init__(
        self,
        settings: Settings,
        me: Identity,
        rows: inbox.Inbox,
        client: Client,
        report: Report,
    ) -> None:
        self._settings = settings
        self._me = me
        self._inbox = rows
        self._report = report
        self._started = time.monotonic()
        self._agent: Agent = Echo()
        self._policy = Policy(settings.allow_from, settings.access == "open")
        self._turn = Turn(
            me,
            self._policy,
            Commands(self._status),
            self._agent,
            Courier(client.send_message, report),
            Strangers().note,
        )
        self._dispatcher = Dispatcher(
            self._take,
            envelope.chat_key,
            max_turns=settings.max_turns,
            max_admitted=settings.max_turns * ADMITTED_PER_TURN,
        )
        self._poller = Poller(
            client.get_updates, self._accept, self._dispatcher.room, report
        )

    async def run(self, stop: Stop) -> None:
        """Take up what was left, poll until asked to stop, drain."""
        self._say_hello()
        left = await self._inbox.open_rows()
        if left:
            logger.info("taking up what an earlier run left open", rows=len(left))
        self._dispatcher.admit(left)
        try:
            await _unless(stop.asked, self._poller.run())
        finally:
            await self._drain(stop)

    async def _drain(self, stop: Stop) -> None:
        waiting = self._dispatcher.admitted
        if waiting:
            logger.info("finishing turns", rows=waiting)
        await _unless(stop.hurry, self._dispatcher.drain(self._settings.drain_seconds))
        left = await self._dispatcher.drain(0)
        if left:
            logger.warning("left open for the next start", rows=left)

    async def _accept(self, raws: Sequence[Raw]) -> int:
        """Store, then admit: what is in memory only is lost in a crash."""
        rows = await self._inbox.accept(raws)
        self._dispatcher.admit(rows)
        return len(rows)

    async def _take(self, row: Row) -> None:
        """One turn, from the dispatcher to the inbox."""
        try:
            outcome = await self._turn.take(row)
        except OperatorError as error:
            # The poller meets the same and ends the program.
            logger.error("row left open", update=row.update_id, why=str(error))
            return
        closing = asyncio.create_task(self._close(row, outcome))
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            # The reply is out; to leave the row open would send it again.
            await closing
            raise

    async def _close(self, row: Row, outcome: Outcome) -> None:
        """End the row, then tell the outcome; a row is told of once."""
        try:
            await self._inbox.close(row.update_id, outcome.disposition)
        except InboxError as error:
            logger.error("row not closed", update=row.update_id, why=str(error))
            self._report(Trouble(ErrorType.INBOX, Severity.CRITICAL))
            return
        self._report(outcome)
        if outcome.disposition is Disposition.ANSWERED:
            seconds = round(outcome.seconds or 0.0, 3)
            logger.info("answered", update=row.update_id, seconds=seconds)

    def _status(self) -> Status:
        now, polled = time.monotonic(), self._poller.completed
        return Status(
            VERSION,
            self._agent.name,
            now - self._started,
            self._dispatcher.admitted,
            None if polled is None else now - polled,
        )

    def _say_hello(self) -> None:
        logger.info(
            "gateway started",
            bot=f"@{self._me.username}",
            version=VERSION,
            agent=self._agent.name,
            state_dir=str(self._settings.state_dir),
        )
        if self._policy.closed:
            logger.warning(
                "nobody is let in yet: write to the bot, this log will show your"
                " user id; then start again with CROCBOT_ALLOW_FROM set to it"
            )


class Strangers:
    """Logs everybody who was not let in, once; after a thousand it starts anew."""

    def __init__(self) -> None:
        self._known: set[int] = set()

    def note(self, message: Message, decision: Decision) -> None:
        """Tell the operator how to let them in, if that is possible."""
        chat, user = message.address.chat_id, message.sender_id
        key = user if decision.verdict is Verdict.NOT_LISTED and user else chat
        if key in self._known:
            return
        if len(self._known) >= MOST_STRANGERS:
            self._known.clear()
        self._known.add(key)
        if decision.verdict is Verdict.NOT_LISTED:
            logger.warning(
                "not let in", user=user, to_let_in=f"add {user} to CROCBOT_ALLOW_FROM"
            )
        else:
            logger.warning("not answered", chat=chat, why=str(decision.verdict))


async def _greet(client: Client, report: Report) -> Identity:
    """Learn who we are and make polling possible, however long that takes."""
    me = await _persist(client.get_me, report)
    await _persist(client.delete_webhook, report)
    try:
        await client.set_my_commands(MENU)
    except OperatorError:
        raise
    except CrocbotError as error:
        logger.warning("the menu of commands was not set", why=str(error))
    return me


async def _persist(call: Callable[[], Awaitable[Result]], report: Report) -> Result:
    """Call until Telegram answers."""
    pause = FIRST_PAUSE
    while True:
        wait, why = pause, ""
        try:
            return await call()
        except FloodWaitError as error:
            wait, why = error.seconds, str(error)
        except TelegramError as error:
            report(Trouble(ErrorType(error.reason), Severity.WARNING))
            why = str(error)
        except DeliveryError as error:
            why = str(error)
        logger.warning("Telegram cannot be reached yet", why=why, next_in=wait)
        await asyncio.sleep(wait)
        pause = min(pause * 1.5, LONGEST_PAUSE)


async def _unless(
    event: asyncio.Event, work: Coroutine[Any, Any, Result]
) -> Result | None:
    """Do the work, or give it up with None when the event comes first."""
    doing = asyncio.create_task(work)
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({doing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        return None
    finally:
        doing.cancel()
        waiting.cancel()
        await asyncio.gather(doing, waiting, return_exceptions=True)
