"""
A Message to a Reply, for the commands that the gateway answers itself.

    /start    a greeting               /whoami   ids, for CROCBOT_ALLOW_FROM
    /help     this list                /status   how the gateway is doing
    /new      forgets what was said    /usage    the tokens of this chat
    /stop     ends the turn that this chat is busy with

Only people who are let in get here, and /status is for operators.  Every other command
is the agent's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from crocbot.errors import StoreError
from crocbot.model import ChatThread, Message, Reply, Usage

MENU: Mapping[str, str] = {
    "start": "Say hello",
    "help": "What I can do",
    "new": "Forget what was said here",
    "usage": "The tokens that this chat has used",
    "whoami": "Your user id and the id of this chat",
    "status": "How the gateway is doing, for operators",
    "stop": "Stop what I am doing for you",
}
"""What Telegram shows in its menu: command -> description."""

FOR_OPERATORS = "Only an operator of this bot may ask that."


@dataclass(frozen=True, slots=True)
class Status:
    """What /status tells.  `polled` is None before the first completed poll."""

    version: str
    agent: str
    uptime: float
    queued: int
    polled: float | None


@dataclass(frozen=True, slots=True)
class Commands:
    """
    The gateway's own commands; `status` is asked when somebody wants to know.

    `stop` ends the turn of a message's chat, and tells whether there was one.
    `forget` and `usage` are about the memory of one chat, or topic of it.
    """

    status: Callable[[], Status]
    stop: Callable[[Message], bool]
    forget: Callable[[ChatThread], Awaitable[None]]
    usage: Callable[[ChatThread], Awaitable[tuple[int, Usage]]]

    async def answer(self, message: Message, *, operator: bool) -> Reply | None:
        """Answer a command of the gateway; None if this is not one."""
        match message.command:
            case "start":
                return Reply("Hello. Write to me and I will answer. /help tells more.")
            case "help":
                return Reply(_help())
            case "whoami":
                return Reply(_whoami(message))
            case "status":
                told = _status(self.status()) if operator else FOR_OPERATORS
                return Reply(told)
            case "new" | "usage":
                return await self._memory(message)
            case "stop":
                return Reply("Stopped." if self.stop(message) else "Nothing to stop.")
            case _:
                return None

    async def _memory(self, message: Message) -> Reply:
        try:
            if message.command == "usage":
                return Reply(_usage(*await self.usage(message.chat)))
            await self.forget(message.chat)
        except StoreError:
            return Reply("Sorry, I cannot reach my memory. Please try again.")
        return Reply("Let us begin anew: I have forgotten what was said here.")


def _help() -> str:
    lines = [f"/{command} - {text}" for command, text in MENU.items()]
    return "\n".join([*lines, "Everything else goes to the agent."])


def _whoami(message: Message) -> str:
    return f"user id: {message.sender_id}\nchat id: {message.chat.chat_id}"


def _usage(answers: int, usage: Usage) -> str:
    total = usage.input_tokens + usage.output_tokens
    if not total:
        return f"answers in this chat: {answers}\ntokens: not told by the agent"
    return "\n".join(
        [
            f"answers in this chat: {answers}",
            f"tokens: {total} (in {usage.input_tokens}, out {usage.output_tokens})",
        ]
    )


def _status(status: Status) -> str:
    polled = "not yet" if status.polled is None else f"{_span(status.polled)} ago"
    return "\n".join(
        [
            f"crocbot {status.version}, agent {status.agent}",
            f"up for {_span(status.uptime)}",
            f"last poll completed: {polled}",
            f"messages in work or waiting, with this one: {status.queued}",
        ]
    )


def _span(seconds: float) -> str:
    """
    Seconds as people say them, in the two largest units.

        93784 -> 1 d 2 h       59 -> 59 s
    """
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    named = [(day, "d"), (hour, "h"), (minute, "min"), (second, "s")]
    parts = [f"{number} {unit}" for number, unit in named if number]
    return " ".join(parts[:2]) or "0 s"
