"""
A Bot API server for one bot on 127.0.0.1, with the controls that a test needs.

    POST /bot<token>/<method>          {"ok": true, "result": ...}
    body: form, multipart or JSON      {"ok": false, "error_code": 400, ...}

    send(person, "hello") --> getUpdates           a user writes
    listen(callback) <------- sendMessage          the bot writes
    draft(person)    <------- sendMessageDraft     the bot is writing
    press_stop(person) -----> getUpdates           a user stops it
    fault("sendMessage", faults.flood_wait(3))     a call fails

A long poll waits for updates.  The methods themselves are in `account.py`.
"""

from __future__ import annotations

import time
from asyncio import create_task, gather, sleep
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Self

from aiohttp import web

from crocbot.http_server import settle_connections
from crocbot.model import Clock
from crocbot.sandbox import faults, messages
from crocbot.sandbox.account import FIRST_UPDATE, Account, Method
from crocbot.sandbox.drafts import DraftListener
from crocbot.sandbox.faults import Drop, Fault, Slow
from crocbot.sandbox.files import MAX_UPLOAD_BYTES
from crocbot.sandbox.limits import MessageLimit
from crocbot.sandbox.messages import Chat, Content, Listener, Person, Sent
from crocbot.sandbox.parameters import BotApiError, Parameters, read
from crocbot.sandbox.reactions import ReactionListener
from crocbot.sandbox.updates import InterruptedPollError

TOKEN = "4242424242:AAsandbox-token-that-opens-nothing00"  # noqa: S105 (made up)


class Server:
    """
    The server; enter it inside the event loop, which owns it.

    `url` is the value for CROCBOT_TELEGRAM_API_URL.  `calls` counts the calls of each
    method, named in lower case, including those that failed.  An `old` server has the
    methods of 2024.  `missing` counts the calls of methods that it lacks,
    `limit` bounds messages a second.
    """

    def __init__(
        self,
        token: str = TOKEN,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        first_update: int = FIRST_UPDATE,
        clock: Clock = time.time,
        old: bool = False,
        limit: MessageLimit | None = None,
    ) -> None:
        self.token = token
        self.url = ""
        self.calls: Counter[str] = Counter()
        self._limit = limit
        self.missing: Counter[str] = Counter()
        self._host, self._port = host, port
        self._unknown_method = "Not Found" if old else "Not Found: method not found"
        bot_id = int(token.partition(":")[0])
        self._account = Account(bot_id, clock, first_update, old=old)
        self._faults: dict[str, deque[Fault]] = {}

    async def __aenter__(self) -> Self:
        # A larger body is answered 413, as at Telegram.
        app = web.Application(client_max_size=MAX_UPLOAD_BYTES)
        app.router.add_route("*", "/bot{token}/{method}", self._serve)
        app.router.add_get("/file/bot{token}/files/{file_id}", self._file)
        app.router.add_route("*", "/{path:.*}", _not_found)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        host, self._port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{self._port}"
        self._delivery = create_task(self._account.delivery.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._delivery.cancel()
        await gather(self._delivery, return_exceptions=True)
        for site in list(self._runner.sites):
            await site.stop()
        await settle_connections()
        await self._runner.cleanup()

    @property
    def pending(self) -> int:
        """Return how many updates the bot has not acknowledged."""
        return len(self._account.updates)

    @property
    def commands(self) -> list[Any]:
        """Return the bot's menu, as setMyCommands left it."""
        return self._account.commands

    def send(
        self, person: Person, content: str | Content, chat: Chat | None = None
    ) -> Sent:
        """Send the bot a message, in private or in a chat; returns the Message."""
        if isinstance(content, str):
            content = messages.text(content)
        return self._account.send(person, content, chat or messages.private(person))

    def edit(self, sent: Sent, content: str | Content) -> None:
        """Change a message that a person sent."""
        if isinstance(content, str):
            content = messages.text(content)
        self._account.edit(sent, content)

    def press(self, person: Person, sent: Sent, data: str) -> None:
        """Press a button under a message of the bot, with this data."""
        self._account.put(self._account.presses.press(person, sent, data))

    @property
    def answered_presses(self) -> list[str]:
        """Return the ids of the presses that the bot answered, in order."""
        return self._account.presses.answered

    def change_member(
        self, person: Person, status: str, chat: Chat | None = None
    ) -> None:
        """
        Give the bot another status in a chat: member, administrator, left or kicked.

        A person who blocks the bot gives it the status kicked in their private chat.
        """
        chat = chat or messages.private(person)
        self._account.change_member(person, status, chat)

    def draft(self, person: Person) -> str | None:
        """Return the draft that the chat with a person shows, None without one."""
        shown = self._account.drafts.current(person.user_id)
        return None if shown is None else shown.text

    def listen_drafts(self, listener: DraftListener) -> None:
        """Add a listener for the drafts of the bot."""
        self._account.drafts.listen(listener)

    def reaction(self, sent: Sent) -> str | None:
        """Return the bot's reaction to a message, None without one."""
        return self._account.reactions.of(sent["chat"]["id"], sent["message_id"])

    def listen_reactions(self, listener: ReactionListener) -> None:
        """Add a listener for the reactions of the bot."""
        self._account.reactions.listen(listener)

    def press_stop(self, person: Person) -> int:
        """Press Stop below the draft that a person sees; returns the update's id."""
        return self.push(self._account.drafts.stop(person.user_id))

    def upload(self, file_id: str, content: bytes) -> None:
        """Add a file for getFile, also in place of a sample such as `photo-large`."""
        self._account.files[file_id] = content

    def content(self, file_id: str) -> bytes:
        """Return the content of a file, also of one that the bot has sent."""
        return self._account.files[file_id]

    def push(self, update: Mapping[str, Any]) -> int:
        """Queue any update, also an invalid one; returns its id."""
        return self._account.updates.put(update)

    def listen(self, listener: Listener) -> None:
        """Add a listener for the messages of the bot."""
        self._account.listen(listener)

    def fault(self, method: str, fault: Fault, times: int = 1) -> None:
        """
        Make the next calls of a method fail; the faults of a method form a queue.

        A long poll in progress is the first of these calls.
        """
        key = method.lower()
        if key not in self._account.methods:
            raise ValueError(f"the sandbox has no method {method}")
        self._faults.setdefault(key, deque()).extend([fault] * times)
        if key == "getupdates":
            self._account.updates.interrupt()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["token"] != self.token:
            return _response(faults.unauthorized())
        key = request.match_info["method"].lower()
        method = self._account.methods.get(key)
        if method is None:
            self.missing[key] += 1
            return _response(faults.api_error(404, self._unknown_method))
        self.calls[key] += 1
        if self._limit is not None and not self._limit.allow(key):
            return _response(faults.flood_wait(self._limit.flood_seconds))
        try:
            return await self._run(key, method, request, await read(request))
        except BotApiError as error:
            return _response(faults.api_error(error.status, error.description))

    async def _file(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["token"] != self.token:
            return _response(faults.unauthorized())
        content = self._account.file(request.match_info["file_id"])
        if content is None:
            return _response(faults.api_error(404, "Not Found"))
        return web.Response(body=content)

    async def _run(
        self, key: str, method: Method, request: web.Request, parameters: Parameters
    ) -> web.StreamResponse:
        """Return the result of a method, or of the fault that replaces it."""
        fault = self._next_fault(key)
        match fault:
            case faults.Answer():
                return _response(fault)
            case Drop(carried_out=False):
                return _cut(request)
            case Slow(seconds):
                await sleep(seconds)
        try:
            result = await method(parameters)
        except InterruptedPollError:
            # The poll was interrupted by a fault, which now replaces it.
            return await self._run(key, method, request, parameters)
        if fault == Drop(carried_out=True):
            return _cut(request)
        return web.json_response({"ok": True, "result": result})

    def _next_fault(self, key: str) -> Fault | None:
        queue = self._faults.get(key)
        return queue.popleft() if queue else None


async def _not_found(_: web.Request) -> web.StreamResponse:
    return _response(faults.api_error(404, "Not Found"))


def _response(answer: faults.Answer) -> web.Response:
    return web.Response(
        status=answer.status, text=answer.body, content_type=answer.content_type
    )


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    # It cannot be sent any more.
    return web.Response()
