"""
One bot's state at Telegram: chats, messages, updates; and the methods of the Bot API.

    send(person, "hello") --> updates --> getUpdates
    listen(callback) <------- messages <-- sendMessage, editMessageText

Errors are those of Telegram, in the same words.  An `old` server is one of 2024: it
does not have the methods in NEWER_METHODS.  Formatting is supported as entities
only, and these must lie within their text.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from crocbot.model import Clock
from crocbot.sandbox import faults, files, rich
from crocbot.sandbox.drafts import Drafts, ShownDraft
from crocbot.sandbox.members import Members
from crocbot.sandbox.messages import Chat, Content, Listener, Person, Sent
from crocbot.sandbox.parameters import BotApiError, Parameters
from crocbot.sandbox.presses import Presses
from crocbot.sandbox.reactions import Reactions, read_emoji
from crocbot.sandbox.sample_files import sample
from crocbot.sandbox.texts import formatted, thread_and_reply
from crocbot.sandbox.updates import ConflictingPollError, Updates
from crocbot.sandbox.webhook_delivery import Webhook, WebhookDelivery

NAME = "Sandbox crocodile"
USERNAME = "sandbox_croc_bot"
NEWER_UPDATES = frozenset({"stopped_message_generation"})
NEWER_METHODS = frozenset({"sendmessagedraft", "sendrichmessage"})
MAX_POLL_SECONDS = 50
FIRST_UPDATE = 700_000_001
MAX_FILE_BYTES = 20 * 1024 * 1024
MAX_MESSAGES = 10_000
MAX_CHATS = 10_000
MAX_FILES = 1000
ACTIONS = frozenset(
    {
        "typing",
        "choose_sticker",
        "find_location",
        "record_video",
        "record_video_note",
        "record_voice",
        "upload_document",
        "upload_photo",
        "upload_video",
        "upload_video_note",
        "upload_voice",
    }
)
FORMATTED = ("text", "entities", "reply_markup", "rich_message")
NOT_MODIFIED = (
    "Bad Request: message is not modified: specified new message content and reply"
    " markup are exactly the same as a current content and reply markup of the message"
)

Method = Callable[[Parameters], Awaitable[Any]]


class Account:
    """
    One bot's state.  Owned by the event loop.

    `updates` are pending; `commands` is its menu; `methods` has every method by its
    name in lower case, since Telegram ignores the case.  `clock` is Unix time.
    """

    def __init__(
        self,
        bot_id: int,
        clock: Clock,
        first_update: int = FIRST_UPDATE,
        *,
        old: bool = False,
    ) -> None:
        self.updates = Updates(first_update)
        self.commands: list[Any] = []
        self._old = old
        self.drafts = Drafts(clock)
        self.reactions = Reactions()
        methods: dict[str, Method] = {
            "getme": self._get_me,
            "getupdates": self._get_updates,
            "sendmessage": self._send_message,
            "sendmessagedraft": self._send_message_draft,
            "sendrichmessage": self._send_rich_message,
            "setmessagereaction": self._set_message_reaction,
            **{f"send{kind}": self._sender(kind) for kind in files.KINDS},
            "editmessagetext": self._edit_message_text,
            "deletemessage": self._delete_message,
            "answercallbackquery": self._answer_callback_query,
            "getfile": self._get_file,
            "sendchataction": self._send_chat_action,
            "setmycommands": self._set_my_commands,
            "getmycommands": self._get_my_commands,
            "setwebhook": self._set_webhook,
            "deletewebhook": self._delete_webhook,
            "getwebhookinfo": self._get_webhook_info,
        }
        self.methods: Mapping[str, Method] = {
            name: method
            for name, method in methods.items()
            if not (old and name in NEWER_METHODS)
        }
        self._user = {
            "id": bot_id,
            "is_bot": True,
            "first_name": NAME,
            "username": USERNAME,
        }
        self._clock = clock
        self._allowed: frozenset[str] = frozenset()
        self.presses = Presses(clock)
        self.members = Members(self._user)
        self.delivery = WebhookDelivery(self.updates, clock)
        self._last_message_id = 0
        self._chats: OrderedDict[int, Chat] = OrderedDict()
        self._messages: OrderedDict[tuple[int, int], Sent] = OrderedDict()
        self._listeners: list[Listener] = []
        self._last_file = 0
        self.files: OrderedDict[str, bytes] = OrderedDict()

    def send(self, person: Person, content: Content, chat: Chat) -> Sent:
        """Send a message of a person; returns the Message."""
        self._chats[chat.chat_id] = chat
        self._chats.move_to_end(chat.chat_id)
        _drop_oldest(self._chats, MAX_CHATS)
        sent = self._message(person.as_user(), chat, content)
        self.updates.put({"message": sent})
        return sent

    def edit(self, sent: Sent, content: Content) -> None:
        """Send the new version of a message of a person."""
        kept = {name: sent[name] for name in ("message_id", "from", "chat", "date")}
        edited = {**kept, **content, "edit_date": int(self._clock())}
        self.put({"edited_message": edited})

    def put(self, update: Mapping[str, Any]) -> None:
        """Queue an update, unless the bot does not want its kind."""
        if not self._allowed or self._allowed.issuperset(update):
            self.updates.put(update)

    def change_member(self, person: Person, status: str, chat: Chat) -> None:
        """Give the bot a status in a chat."""
        self._chats[chat.chat_id] = chat
        self.put(self.members.change(person, chat, status, int(self._clock())))

    def file(self, file_id: str) -> bytes | None:
        """Return the content of a file, uploaded or a sample; None if there is none."""
        content = self.files.get(file_id)
        return sample(file_id) if content is None else content

    def listen(self, listener: Listener) -> None:
        """Add a listener for the messages of the bot."""
        self._listeners.append(listener)

    # The methods, with the parameters that are supported.

    async def _get_me(self, _: Parameters) -> dict[str, Any]:
        return self._user | {
            "can_join_groups": True,
            "can_read_all_group_messages": False,
            "supports_inline_queries": False,
            "can_connect_to_business": False,
            "has_main_web_app": False,
        }

    async def _get_updates(self, parameters: Parameters) -> list[Any]:
        if self.delivery.webhook:
            raise BotApiError(409, faults.WEBHOOK_ACTIVE)
        self._allow(parameters)
        seconds = parameters.integer("timeout", 0)
        limit = parameters.integer("limit", 100)
        try:
            return await self.updates.poll(
                parameters.integer("offset", 0),
                min(max(limit, 1), 100),
                min(max(seconds, 0), MAX_POLL_SECONDS),
            )
        except ConflictingPollError:
            by_webhook = self.delivery.webhook is not None
            text = faults.TERMINATED_BY_WEBHOOK if by_webhook else faults.OTHER_POLLER
            raise BotApiError(409, text) from None

    async def _send_message(self, parameters: Parameters) -> Sent:
        chat = self._chat(parameters)
        content = formatted(parameters) | thread_and_reply(parameters)
        return self._show(chat, content)

    def _sender(self, kind: str) -> Method:
        """Return the method that sends files of a kind."""

        async def send(parameters: Parameters) -> Sent:
            chat = self._chat(parameters)
            self._last_file += 1
            file_id = f"sent-{self._last_file}"
            content = files.content(kind, file_id, parameters)
            self.files[file_id] = files.uploaded(kind, parameters).content
            _drop_oldest(self.files, MAX_FILES)
            return self._show(chat, content | thread_and_reply(parameters))

        return send

    def _show(self, chat: Chat, content: Content) -> Sent:
        """Send a message of the bot to a chat."""
        sent = self._message(self._user, chat, content)
        self.drafts.remove(chat.chat_id, content.get("message_thread_id", 0))
        self._messages[chat.chat_id, sent["message_id"]] = sent
        _drop_oldest(self._messages, MAX_MESSAGES)
        self._notify(sent)
        return sent

    async def _send_message_draft(self, parameters: Parameters) -> bool:
        chat = self._chat(parameters)
        if chat.type != "private":
            raise BotApiError(400, "Bad Request: TEXTDRAFT_PEER_INVALID")
        draft_id = parameters.integer("draft_id")
        if not draft_id:
            raise BotApiError(400, "Bad Request: draft_id must be non-zero")
        text = parameters.text("text").strip() and formatted(parameters)["text"]
        self.drafts.show(
            ShownDraft(
                chat=chat,
                draft_id=draft_id,
                text=text,
                thread_id=parameters.integer("message_thread_id", 0),
                can_stop=parameters.flag("can_stop"),
                keep_on_stop=parameters.flag("keep_on_stop"),
                shown_at=self._clock(),
            )
        )
        return True

    async def _send_rich_message(self, parameters: Parameters) -> Sent:
        chat = self._chat(parameters)
        content = rich.content(parameters.json("rich_message"))
        markup = files.keyboard(parameters)
        return self._show(chat, content | markup | thread_and_reply(parameters))

    async def _set_message_reaction(self, parameters: Parameters) -> bool:
        chat, message_id = self._chat(parameters), parameters.integer("message_id")
        if not 0 < message_id <= self._last_message_id:
            raise BotApiError(400, "Bad Request: message to react not found")
        emoji = read_emoji(parameters.json("reaction"))
        self.reactions.set(chat.chat_id, message_id, emoji)
        return True

    async def _edit_message_text(self, parameters: Parameters) -> Sent:
        chat = self._chat(parameters)
        key = chat.chat_id, parameters.integer("message_id")
        old = self._messages.get(key)
        if old is None:
            raise BotApiError(400, "Bad Request: message to edit not found")
        value = None if self._old else parameters.json("rich_message")
        if value is None:
            content = formatted(parameters)
        else:
            content = rich.content(value) | files.keyboard(parameters)
        if content == {name: old[name] for name in FORMATTED if name in old}:
            raise BotApiError(400, NOT_MODIFIED)
        rest = {name: value for name, value in old.items() if name not in FORMATTED}
        edited = {**rest, **content, "edit_date": int(self._clock())}
        self._messages[key] = edited
        self._notify(edited)
        return edited

    async def _delete_message(self, parameters: Parameters) -> bool:
        chat = self._chat(parameters)
        key = chat.chat_id, parameters.integer("message_id")
        if self._messages.pop(key, None) is None:
            raise BotApiError(400, "Bad Request: message to delete not found")
        return True

    async def _answer_callback_query(self, parameters: Parameters) -> bool:
        self.presses.answer(parameters.text("callback_query_id"))
        return True

    async def _get_file(self, parameters: Parameters) -> dict[str, Any]:
        file_id = parameters.text("file_id")
        content = self.file(file_id)
        if content is None:
            raise BotApiError(400, "Bad Request: invalid file_id")
        if len(content) > MAX_FILE_BYTES:
            raise BotApiError(400, "Bad Request: file is too big")
        named = {"file_id": file_id, "file_unique_id": file_id}
        return named | {"file_size": len(content), "file_path": f"files/{file_id}"}

    async def _send_chat_action(self, parameters: Parameters) -> bool:
        self._chat(parameters)
        if parameters.text("action") not in ACTIONS:
            raise BotApiError(400, "Bad Request: wrong parameter action in request")
        return True

    async def _set_my_commands(self, parameters: Parameters) -> bool:
        commands = parameters.json("commands")
        if not isinstance(commands, list) or not all(map(_is_command, commands)):
            raise BotApiError(400, "Bad Request: can't parse commands")
        self.commands = commands
        return True

    async def _get_my_commands(self, _: Parameters) -> list[Any]:
        return self.commands

    async def _set_webhook(self, parameters: Parameters) -> bool:
        url, secret = parameters.text("url"), parameters.text("secret_token")
        self.delivery.webhook = Webhook(url=url, secret=secret) if url else None
        self._allow(parameters)
        return self._after_webhook(parameters)

    async def _delete_webhook(self, parameters: Parameters) -> bool:
        self.delivery.webhook = None
        return self._after_webhook(parameters)

    async def _get_webhook_info(self, _: Parameters) -> dict[str, Any]:
        webhook = self.delivery.webhook
        failed = {}
        if webhook is not None and webhook.failed_at is not None:
            failed = {
                "last_error_date": int(webhook.failed_at),
                "last_error_message": webhook.error,
            }
        return {
            "url": webhook.url if webhook else "",
            "has_custom_certificate": False,
            "allowed_updates": sorted(self._allowed),
            "pending_update_count": len(self.updates),
            **failed,
        }

    def _allow(self, parameters: Parameters) -> None:
        """Keep the list of the kinds of updates that the bot wants, if it has one."""
        wanted = parameters.json("allowed_updates")
        if isinstance(wanted, list):
            # Like Telegram, ignore the names that the server does not know.
            unknown = NEWER_UPDATES if self._old else frozenset()
            self._allowed = frozenset(wanted) - unknown

    def _after_webhook(self, parameters: Parameters) -> bool:
        if self.delivery.webhook:
            self.updates.conflict()
        if parameters.text("drop_pending_updates").lower() == "true":
            self.updates.drop_all()
        return True

    def _chat(self, parameters: Parameters) -> Chat:
        wanted = parameters.text("chat_id")
        if not wanted:
            raise BotApiError(400, "Bad Request: chat_id is empty")
        try:
            chat = self._chats[int(wanted)]
        except (ValueError, KeyError):
            raise BotApiError(400, "Bad Request: chat not found") from None
        self.members.check(chat)
        return chat

    def _message(self, sender: Mapping[str, Any], chat: Chat, content: Content) -> Sent:
        self._last_message_id += 1
        return {
            "message_id": self._last_message_id,
            "from": sender,
            "chat": chat.as_chat(),
            "date": int(self._clock()),
            **content,
        }

    def _notify(self, sent: Sent) -> None:
        for listener in self._listeners:
            listener(sent)


def _is_command(command: object) -> bool:
    return isinstance(command, Mapping) and all(
        isinstance(command.get(name), str) for name in ("command", "description")
    )


def _drop_oldest(entries: OrderedDict[Any, Any], maximum: int) -> None:
    """Drop the oldest entries beyond a bound."""
    while len(entries) > maximum:
        entries.popitem(last=False)
