"""
The few Bot API calls that the gateway makes.

    send_message(...) --> FloodControl.check --> Bot --> Telegram
                                                  '-- ApiCall, FloodWait to `events`

`bot.py` lists the errors.  During a flood wait of a chat or of the bot, calls for it
raise FloodWaitError at once, without a request.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol, Self, TypeVar

from crocbot import leases, log
from crocbot.backoff import FloodControl
from crocbot.botapi import parameters
from crocbot.botapi.bot import DEFAULT_SECONDS, PLACEHOLDER, AiohttpRequest, Bot
from crocbot.botapi.downloads import file_path
from crocbot.botapi.entities import entities
from crocbot.botapi.updates import PROCESSING_ERROR, usable_updates
from crocbot.errors import (
    AnswerTooLongError,
    ChatMovedError,
    CrocbotError,
    DeliveryError,
    FloodWaitError,
    LeaseLostError,
    OperatorError,
    TelegramError,
)
from crocbot.events import (
    NO_EVENTS,
    ApiCall,
    CallOutcome,
    EventListener,
    FloodWait,
    Method,
    PendingUpdates,
    UpdateType,
)
from crocbot.model import (
    BotIdentity,
    ChatThread,
    Clock,
    MessagePart,
    RawUpdate,
    ReconnectReason,
)
from crocbot.outgoing import FileUpload
from crocbot.proxies import NO_PROXIES, Proxies

LONG_POLL_SECONDS = 30
MARGIN_SECONDS = 10.0
DOWNLOAD_SECONDS = 60.0
MAX_CONNECTIONS = 64
MAX_WEBHOOK_CONNECTIONS = 40

NOT_MODIFIED = "message is not modified"
DELETED_BEFORE = "message to delete not found"
ALLOWED_UPDATES = tuple(UpdateType)
FEWER_UPDATES_FACTOR = 4

Result = TypeVar("Result")
logger = log.logger(__name__)


class MoveListener(Protocol):
    """Receives the moves of chats: groups that became supergroups."""

    async def record(self, old: int, new: int) -> None:
        """Take the old and the new id of a chat.  Never raises."""


class Client:
    """
    The Bot API for one bot.  Enter it on the event loop.

    Telegram holds a long poll for `long_poll` seconds; it times out `margin` seconds
    later.  `clock` is monotonic.  `moves`, which Gateway sets, receives moves of chats;
    `floods` has the flood waits.
    """

    def __init__(
        self,
        token: str,
        api_url: str,
        events: EventListener = NO_EVENTS,
        *,
        long_poll: int = LONG_POLL_SECONDS,
        margin: float = MARGIN_SECONDS,
        clock: Clock = time.monotonic,
        proxies: Proxies = NO_PROXIES,
    ) -> None:
        self._events = events
        self._long_poll = long_poll
        self._margin = margin
        self._clock = clock
        self.floods = FloodControl(clock)
        self._cosmetic_flood_control = FloodControl(clock)
        self.moves: MoveListener | None = None
        # Two pools, so that a hung poll and many replies never wait for each other.
        self._bot = Bot(
            PLACEHOLDER,
            base_url=f"{api_url}/bot",
            base_file_url=f"{api_url}/file/bot",
            request=AiohttpRequest(
                token, api_url, connections=MAX_CONNECTIONS, proxies=proxies
            ),
            get_updates_request=AiohttpRequest(
                token, api_url, connections=1, proxies=proxies
            ),
        )

    async def __aenter__(self) -> Self:
        for request in self._bot.requests:
            await request.initialize()
        return self

    async def __aexit__(self, *_: object) -> None:
        for request in self._bot.requests:
            await request.shutdown()

    async def reset_connections(self) -> None:
        """Close the connections for getUpdates; the next poll opens new ones."""
        await self._bot.requests[0].reset_connections()

    async def get_me(self) -> BotIdentity:
        """Return the bot's account; OperatorError if the token is refused."""
        me = await self._call("getMe")
        if not isinstance(me, Mapping) or not isinstance(me.get("id"), int):
            raise TelegramError("getMe returned no bot", ReconnectReason.NETWORK)
        return BotIdentity(
            me["id"],
            str(me.get("username", "")),
            privacy_mode=me.get("can_read_all_group_messages") is False,
        )

    async def set_webhook(self, url: str, secret: str) -> None:
        """Have Telegram send updates to `url`, with `secret`; keep pending ones."""
        await self._call(
            "setWebhook",
            url=url,
            secret_token=secret,
            max_connections=MAX_WEBHOOK_CONNECTIONS,
            allowed_updates=ALLOWED_UPDATES,
        )

    async def delete_webhook(self) -> None:
        """Make polling possible; keep pending updates."""
        await self._call("deleteWebhook")

    async def get_webhook_info(self) -> Mapping[str, Any]:
        """Return Telegram's WebhookInfo: URL, pending updates, last error."""
        info = await self._call("getWebhookInfo")
        if not isinstance(info, Mapping):
            raise TelegramError(
                "getWebhookInfo returned no object", ReconnectReason.NETWORK
            )
        return info

    async def count_pending_updates(self) -> None:
        """Emit the number of updates that Telegram keeps; raises no error."""
        count = None
        try:
            pending = (await self.get_webhook_info()).get("pending_update_count")
            if type(pending) is int and pending >= 0:
                count = pending
        except CrocbotError as error:
            # Polls and the webhook report what is wrong.
            logger.debug("pending updates not counted", error=str(error))
        self._events.emit(PendingUpdates(count))

    async def set_my_commands(self, menu: Mapping[str, str]) -> None:
        """Set the menu of commands, a description for each name."""
        commands = [{"command": name, "description": menu[name]} for name in menu]
        await self._call("setMyCommands", commands=commands)

    async def get_updates(
        self, offset: int, limit: int, *, wait: bool = True
    ) -> Sequence[RawUpdate]:
        """
        Return updates from `offset` on, at most `limit`, in the order of their ids.

        With `wait` this is a long poll.  If the updates have too many bytes together,
        fewer are requested.
        """
        fewer = False
        while True:
            try:
                entries = await self._call(
                    "getUpdates",
                    seconds=self._long_poll + self._margin,
                    offset=offset,
                    limit=limit,
                    timeout=self._long_poll if wait else 0,
                    allowed_updates=ALLOWED_UPDATES,
                )
                break
            except AnswerTooLongError as error:
                if not fewer:
                    self._events.emit(PROCESSING_ERROR)
                if limit == 1:
                    raise
                fewer, limit = True, max(1, limit // FEWER_UPDATES_FACTOR)
                logger.warning(
                    "fewer updates are requested", limit=limit, error=str(error)
                )
        if not isinstance(entries, list):
            raise TelegramError("getUpdates returned no list", ReconnectReason.NETWORK)
        self._report_surplus(len(entries) - limit)
        return usable_updates(entries[:limit], self._events)

    def _report_surplus(self, surplus: int) -> None:
        """Log and count, as one error, updates that were not requested."""
        if surplus > 0:
            logger.error("more updates than requested: dropped", updates=surplus)
            self._events.emit(PROCESSING_ERROR)

    async def send_message(
        self, chat: ChatThread, part: MessagePart, reply_to: int | None = None
    ) -> int:
        """Send one message, as a reply to `reply_to`; return its id."""
        sent = await self.call_chat(
            "sendMessage",
            chat,
            message_thread_id=chat.thread_id,
            text=part.text,
            entities=entities(part),
            reply_parameters=parameters.reply_parameters(reply_to),
            reply_markup=parameters.keyboard(part.buttons),
        )
        return sent_message_id(sent)

    async def send_file(
        self,
        chat: ChatThread,
        file: FileUpload,
        caption: MessagePart,
        reply_to: int | None = None,
    ) -> int:
        """Send one file with a caption, as a reply to `reply_to`; return its id."""
        upload: dict[str, Any] = {file.kind.value: parameters.upload(file)}
        sent = await self.call_chat(
            parameters.FILE_METHODS[file.kind],
            chat,
            seconds=parameters.upload_seconds(file),
            message_thread_id=chat.thread_id,
            caption=caption.text or None,
            caption_entities=entities(caption),
            reply_parameters=parameters.reply_parameters(reply_to),
            reply_markup=parameters.keyboard(caption.buttons),
            **upload,
        )
        return sent_message_id(sent)

    async def edit_message(
        self, chat: ChatThread, message_id: int, part: MessagePart
    ) -> None:
        """Replace the text of a message."""
        try:
            await self.call_chat(
                "editMessageText",
                chat,
                message_id=message_id,
                text=part.text,
                entities=entities(part),
                reply_markup=parameters.keyboard(part.buttons),
            )
        except DeliveryError as error:
            # An earlier try succeeded, and its answer was lost.
            if NOT_MODIFIED not in str(error).lower():
                raise

    async def delete_message(self, chat: ChatThread, message_id: int) -> None:
        """Delete a message, unless it was deleted before."""
        try:
            await self.call_chat("deleteMessage", chat, message_id=message_id)
        except DeliveryError as error:
            if DELETED_BEFORE not in str(error).lower():
                raise

    async def send_typing(self, chat: ChatThread) -> None:
        """Show `typing` in the chat for five seconds."""
        await self.call_chat(
            "sendChatAction",
            chat,
            message_thread_id=chat.thread_id,
            action="typing",
        )

    async def confirm_press(self, query_id: str) -> None:
        """Tell Telegram that the press of a button arrived: it waits for seconds."""
        await self._call("answerCallbackQuery", callback_query_id=query_id)

    async def download(self, file_id: str, max_bytes: int) -> bytes:
        """
        Return the content of a file that was sent to the bot.

        Raise FileTooLargeError if it has more than `max_bytes`, DeliveryError if there
        is no file.  The URL of the file contains the token, so it is never returned.
        """
        file = await self._call("getFile", file_id=file_id)
        path = file_path(file, max_bytes)
        content = self._bot.download(path, DOWNLOAD_SECONDS, max_bytes)
        return await self._measure(Method.FILE, content)

    async def call_chat(
        self,
        method: str,
        chat: ChatThread,
        *,
        cosmetic: bool = False,
        **values: Any,
    ) -> Any:
        """
        Call a method for a chat, at its new id if it moved.

        Raise FloodWaitError, without a call, during a flood wait, LeaseLostError if
        another replica works the chat.  A flood wait that Telegram sets for a
        `cosmetic` call delays no other call.
        """
        chat_id, moved_from = chat.chat_id, None
        floods = self._cosmetic_flood_control if cosmetic else self.floods
        while True:
            self.floods.restore(chat_id, leases.take_flood_seconds())
            self.floods.check(chat_id)
            floods.check(chat_id)
            if not await leases.confirm():
                raise LeaseLostError(chat_id)
            try:
                return await self._call(method, chat_id=chat_id, **values)
            except ChatMovedError as error:
                # Only once: a chat moves when it becomes a supergroup, which stays.
                if moved_from is not None:
                    raise
                chat_id, moved_from = error.chat_id, chat_id
                if self.moves is not None:
                    await self.moves.record(moved_from, chat_id)
            except FloodWaitError as error:
                seconds = error.seconds
                floods.record(chat_id, seconds, moved_from=moved_from)
                raise

    async def _call(
        self, method: str, *, seconds: float = DEFAULT_SECONDS, **values: Any
    ) -> Any:
        call = self._bot.call(method, values, seconds)
        return await self._measure(Method.of(method), call)

    async def _measure(self, method: Method, call: Awaitable[Result]) -> Result:
        """Await a call and emit its outcome and its time."""
        began = self._clock()
        outcome = CallOutcome.CANCELLED
        try:
            result = await call
            outcome = CallOutcome.OK
            return result
        except CrocbotError as error:
            outcome = _outcome(error)
            if isinstance(error, FloodWaitError):
                self._events.emit(FloodWait(error.seconds))
            raise
        finally:
            self._events.emit(ApiCall(method, outcome, self._clock() - began))


def sent_message_id(sent: Any) -> int:
    """Return the id of a message that was sent; 0, which none has, if it is missing."""
    message_id = sent.get("message_id") if isinstance(sent, Mapping) else None
    return message_id if isinstance(message_id, int) else 0


def _outcome(error: CrocbotError) -> CallOutcome:
    match error:
        case FloodWaitError():
            return CallOutcome.FLOOD_WAIT
        case OperatorError():
            return CallOutcome.UNAUTHORIZED
        case DeliveryError():
            return CallOutcome.REFUSED
        case TelegramError():
            return CallOutcome(error.reason.value)
        case _:
            return CallOutcome.NETWORK
