"""
Calls of an agent's function, beside the gateway's event loop.

    gateway's loop                        another thread
    AgentCalls.pieces(question)  ------>  an async function: one loop for all of them
         |        <-- piece, piece, end   a blocking one: a thread for each call
         '-- cancelled ---------------->  cancelled, or given up

A function that blocks, even an async one, keeps no other chat waiting for the gateway.
Pieces are passed one at a time, so that a fast function does not fill the memory.

An async call is cancelled as soon as its turn ends.  A thread cannot be ended: a
blocking call is given up, ends at its next piece, and counts until then.  With
`MAX_GIVEN_UP` of them no further call begins.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing, suppress
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from crocbot import log
from crocbot.agents.failure import Failure, describe, describe_unknown
from crocbot.agents.function import Function
from crocbot.errors import AgentError
from crocbot.turn_outcomes import AgentErrorReason

MAX_GIVEN_UP = 32
MAX_CHECKS = 5
CHECK_SECONDS = 0.1
# Within the time that the gateway has to end after its drain.
CLOSE_SECONDS = 0.5

logger = log.logger(__name__)


class _End:
    """The last item of a call."""


@dataclass(frozen=True, slots=True)
class _Awaitable:
    """What a blocking function returned, to be awaited by the loop of functions."""

    value: Any


class FunctionFailedError(Exception):
    """The function raised an exception."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.summary)
        self.failure = failure


class AgentCalls:
    """All calls of one function."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self._loop: FunctionLoop | None = None
        self._given_up: list[_Call] = []
        # Python's own would print the text of the exception.
        self._excepthook, threading.excepthook = threading.excepthook, _log_thread_error

    async def pieces(
        self, question: object, texts: Iterable[str]
    ) -> AsyncGenerator[object, None]:
        """
        Call the function and yield what it gives.

        Raise FunctionFailedError, whose failure shows none of `texts`, or AgentError.
        """
        await self._check_given_up()
        hidden = tuple(texts)
        call: _Call
        if self._function.is_async:
            call = self._async_call(self._function.call, question, hidden)
        else:
            call = _BlockingCall(self._function, question, hidden)
        while True:
            following = None
            try:
                call.start()
                async with aclosing(call.items()) as items:
                    async for item in items:
                        if isinstance(item, _Awaitable):
                            following = item.value
                            break
                        yield item
            finally:
                self._end(call)
            if following is None:
                return
            call = self._async_call(_identity, following, hidden)

    async def close(self) -> None:
        """Cancel all async calls and end their loop."""
        threading.excepthook = self._excepthook
        if self._loop is not None:
            await self._loop.close()

    def _async_call(
        self, function: Any, argument: object, texts: tuple[str, ...]
    ) -> _AsyncCall:
        if self._loop is None:
            self._loop = FunctionLoop()
        return _AsyncCall(
            loop=self._loop.loop,
            context=self._function.context.copy(),
            function=function,
            argument=argument,
            texts=texts,
        )

    def _end(self, call: _Call) -> None:
        call.give_up()
        if not call.ended:
            self._given_up.append(call)

    async def _check_given_up(self) -> None:
        for _ in range(MAX_CHECKS):
            self._given_up = [call for call in self._given_up if not call.ended]
            if len(self._given_up) < MAX_GIVEN_UP:
                return
            # Many that were cancelled just now may be about to end.
            await asyncio.sleep(CHECK_SECONDS)
        raise AgentError(
            f"{MAX_GIVEN_UP} calls of {self._function.name} were given up and have not"
            " ended: give its requests timeouts, and restart the gateway",
            AgentErrorReason.OPERATOR,
        )


def _identity(value: object) -> object:
    return value


class _Call:
    """One call: its methods with `_` run in its own thread, the others in ours."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._gateway = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[object] = asyncio.Queue()
        self._texts = texts
        self.given_up = False
        self.ended = False

    def start(self) -> None:
        """Begin the call.  Raise AgentError."""
        raise NotImplementedError

    def want(self) -> None:
        """Let the function go on to its next piece."""
        raise NotImplementedError

    def give_up(self) -> None:
        """Take no more pieces, and end the function if that is possible."""
        raise NotImplementedError

    async def items(self) -> AsyncGenerator[object, None]:
        """Yield the items of the call.  Raise FunctionFailedError."""
        while True:
            self.want()
            item = await self._arrived.get()
            if isinstance(item, _End):
                return
            if isinstance(item, Failure):
                raise FunctionFailedError(item)
            yield item

    def _post(self, item: object) -> None:
        # The loop is closed if the gateway has ended.
        with suppress(RuntimeError):
            self._gateway.call_soon_threadsafe(self._arrived.put_nowait, item)

    def _post_end(self, item: _End | Failure) -> None:
        self.ended = True
        self._post(item)


class _BlockingCall(_Call):
    """A call in a thread of its own, which does not keep the process from its exit."""

    def __init__(
        self, function: Function, question: object, texts: tuple[str, ...]
    ) -> None:
        super().__init__(texts)
        self._call, self._question = function.call, question
        self._wanted = threading.Semaphore(0)
        self._thread = threading.Thread(
            target=function.context.copy().run,
            args=(self._run,),
            name="agent call",
            daemon=True,
        )

    def start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError as error:
            text = f"no thread for the agent's function: {error}"
            raise AgentError(text, AgentErrorReason.FAILED) from error

    def want(self) -> None:
        self._wanted.release()

    def give_up(self) -> None:
        self.given_up = True
        self._wanted.release()

    def _run(self) -> None:
        try:
            result = self._call(self._question)
            if hasattr(result, "__await__") or hasattr(result, "__aiter__"):
                self._put(_Awaitable(result))
                self.ended = True
            else:
                self._put_all(result)
                self._post_end(_End())
        except BaseException as error:
            self._post_end(describe(error, self._texts, __file__))

    def _put_all(self, result: object) -> None:
        pieces = _returned(result)
        try:
            for piece in pieces:
                if not self._put(piece):
                    return
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    def _put(self, item: object) -> bool:
        """Pass an item on when it is wanted; return False if the call was given up."""
        self._wanted.acquire()
        if self.given_up:
            return False
        self._post(item)
        return True


class _AsyncCall(_Call):
    """A call as a task of the loop of functions."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        context: Context,
        function: Any,
        argument: object,
        texts: tuple[str, ...],
    ) -> None:
        super().__init__(texts)
        self._loop, self._context = loop, context
        self._call, self._argument = function, argument
        self._wanted = asyncio.Semaphore(0)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._loop.call_soon_threadsafe(self._begin, context=self._context)

    def want(self) -> None:
        self._tell(self._wanted.release)

    def give_up(self) -> None:
        self.given_up = True
        self._tell(self._cancel)

    def _tell(self, callback: Any) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback)

    def _begin(self) -> None:
        if self.given_up:
            self.ended = True
            return
        self._task = self._loop.create_task(self._run())

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        # No exception leaves it: SystemExit would end the loop of all calls.
        try:
            result = self._call(self._argument)
            if hasattr(result, "__await__"):
                result = await result
            if hasattr(result, "__aiter__"):
                await self._put_all(result)
            else:
                for piece in _returned(result):
                    await self._put(piece)
            self._post_end(_End())
        except BaseException as error:
            self._post_end(describe(error, self._texts, __file__))

    async def _put_all(self, pieces: Any) -> None:
        try:
            async for piece in pieces:
                await self._put(piece)
        finally:
            if hasattr(pieces, "aclose"):
                await pieces.aclose()

    async def _put(self, item: object) -> None:
        await self._wanted.acquire()
        self._post(item)


def _returned(result: object) -> Iterable[object]:
    """Return the pieces of what a function returned: several, or one."""
    is_several = isinstance(result, list | tuple | Iterator)
    return result if is_several else (result,)  # type: ignore[return-value]


class FunctionLoop:
    """An event loop in a thread of its own, for async functions."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(_log_loop_error)
        self._closing = False
        self._thread = threading.Thread(
            target=self._run, name="agent loop", daemon=True
        )
        self._thread.start()

    async def close(self) -> None:
        """Cancel all tasks, for CLOSE_SECONDS, and end the loop unless it hangs."""
        self._closing = True
        self.loop.call_soon_threadsafe(self._begin_end)
        await asyncio.to_thread(self._thread.join, 2 * CLOSE_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._closing:
            try:
                self.loop.run_forever()
            except BaseException as error:
                # A task that the function has begun raised SystemExit, for example.
                logger.error(
                    "a task of the agent failed", error=describe_unknown(error)
                )
        self.loop.close()

    def _begin_end(self) -> None:
        self._ending = self.loop.create_task(self._end())

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
        self.loop.stop()


def _log_loop_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error in a task that the function has begun, without its text."""
    error = context.get("exception")
    if isinstance(error, BaseException):
        logger.error("a task of the agent failed", error=describe_unknown(error))


def _log_thread_error(arguments: threading.ExceptHookArgs) -> None:
    """Log an error in a thread that the function has begun, without its text."""
    error = arguments.exc_value
    if error is not None and not isinstance(error, SystemExit):
        logger.error("a thread of the agent failed", error=describe_unknown(error))
