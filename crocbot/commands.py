"""
Message to Reply, for the commands that the gateway answers itself.

    /start    a greeting               /whoami   ids, for CROCBOT_ALLOW_FROM
    /help     this list                /status   the state of the gateway
    /new      clears the memory        /usage    the tokens of this chat
    /stop     ends this chat's turn    (and with prices what the sender's cost)

Access has been checked; /status is for operators only.  All other commands are for the
agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from crocbot import log
from crocbot.errors import StoreError
from crocbot.events import EventListener
from crocbot.model import ChatThread, ErrorEvent, Message, Reply, Usage
from crocbot.sessions import Sessions
from crocbot.spending import Spending, in_words

MENU: Mapping[str, str] = {
    "start": "Say hello",
    "help": "What I can do",
    "new": "Forget our conversation",
    "usage": "The tokens that this chat has used, and your share",
    "whoami": "Your user id and the id of this chat",
    "status": "The state of the gateway, for operators",
    "stop": "Stop what I am doing for you",
}
"""The menu that Telegram shows: command -> description."""

OPERATORS_ONLY = "Only an operator of this bot may ask that."

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """
    What /status shows.

    Times are seconds; `contact_age` is None before the first contact with Telegram.
    `fallback` is the second agent, None without one, and `failing_for` how long the
    first agent has failed, None while it answers.  `replica` is this process among the
    replicas of the bot, `leader` the one that leads, if it is known, and `chats` how
    many chats this one works; None where no database is shared.
    """

    version: str
    agent: str
    uptime: float
    queued: int
    contact_age: float | None
    fallback: str | None = None
    failing_for: float | None = None
    replica: str | None = None
    leader: str | None = None
    chats: int | None = None


class GatewayControl(Protocol):
    """What a turn asks of the running gateway around it."""

    def status(self) -> Status:
        """Return the state of the gateway now."""

    async def stop_turn(self, chat: ChatThread, draft: int | None) -> bool:
        """
        Cancel the turn that a chat is in; return whether there was one.

        With a draft, only the turn whose answer it shows.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """The gateway's own commands; without `spending` /usage shows no share."""

    gateway: GatewayControl
    sessions: Sessions
    events: EventListener
    spending: Spending | None = None

    async def answer(self, message: Message, *, operator: bool) -> Reply | None:
        """Answer a command of the gateway; return None if the message is not one."""
        match message.command:
            case "start":
                text = "Hello. Write to me and I will answer. /help lists my commands."
            case "help":
                text = _help()
            case "whoami":
                text = _whoami(message)
            case "status":
                lines = describe_status(self.gateway.status(), in_chat=True)
                text = "\n".join(lines) if operator else OPERATORS_ONLY
            case "new" | "usage":
                text = await self._memory(message)
            case "stop":
                stopped = await self.gateway.stop_turn(
                    message.chat, message.stopped_draft
                )
                text = "Stopped." if stopped else "Nothing to stop."
            case _:
                return None
        return Reply(text)

    async def _memory(self, message: Message) -> str:
        try:
            if message.command == "usage":
                return await self._usage(message)
            await self.sessions.forget(message.chat)
        except StoreError as error:
            logger.error("command failed", command=message.command, error=str(error))
            self.events.emit(ErrorEvent(error.type, error.severity))
            return "Sorry, I cannot reach my memory. Please try again."
        return "Let us begin anew: I have forgotten our conversation."

    async def _usage(self, message: Message) -> str:
        text = _usage(*await self.sessions.usage(message.chat))
        if self.spending is None:
            return text
        spent, whole = await self.spending.share(message.person_id)
        if not (self.spending.priced or spent.tokens):
            # Without prices a share is one of tokens.
            return text
        if not spent.answers:
            # Answers of earlier versions, or to other persons of the chat.
            return f"{text}\nyour share: none counted"
        words = in_words(spent, priced=self.spending.priced)
        part = f"{100 * spent.part_of(whole):.1f} % of all"
        return f"{text}\nyour share: {words}, {part}"


def _help() -> str:
    lines = [f"/{command} - {text}" for command, text in MENU.items()]
    return "\n".join([*lines, "Everything else goes to the agent."])


def _whoami(message: Message) -> str:
    return f"user id: {message.sender_id}\nchat id: {message.chat.chat_id}"


def _usage(answers: int, usage: Usage) -> str:
    if not answers:
        # No answer yet, or an agent without a memory, whose answers are not counted.
        return "tokens: none counted in this chat"
    total = usage.input_tokens + usage.output_tokens
    tokens = f"{total} (in {usage.input_tokens}, out {usage.output_tokens})"
    if not total:
        tokens = "not counted by the agent"
    return f"answers in this chat: {answers}\ntokens: {tokens}"


def describe_status(status: Status, *, in_chat: bool) -> list[str]:
    """Return what /status shows; `in_chat` if one of the messages asks for it."""
    included = ", this one included" if in_chat else ""
    return [
        f"crocbot {status.version}, agent {status.agent}",
        *_agents(status),
        *_replica(status),
        f"up for {_duration(status.uptime)}",
        f"last contact with Telegram: {_contact(status)}",
        f"messages running or waiting{included}: {status.queued}",
    ]


def _contact(status: Status) -> str:
    """Return when Telegram last gave updates to this process."""
    if status.contact_age is not None:
        return f"{_duration(status.contact_age)} ago"
    # It answers chats without polling.
    return "not yet" if status.leader == status.replica else "none as a standby"


def _agents(status: Status) -> list[str]:
    """Return which agent answers, if there is a second one."""
    if status.fallback is None:
        return []
    if status.failing_for is None:
        return [f"fallback {status.fallback}, not needed now"]
    since = _duration(status.failing_for)
    return [
        f"{status.agent} has failed for {since}: the fallback {status.fallback} answers"
    ]


def _replica(status: Status) -> list[str]:
    """Return which replica this is, and which one leads, if there are several."""
    if status.replica is None:
        return []
    role = f"standby, the leader is {status.leader}"
    if status.leader == status.replica:
        role = "the leader"
    elif status.leader is None:
        role = "standby, no leader is known"
    return [f"replica {status.replica}: {role}; chats at work here: {status.chats}"]


def _duration(seconds: float) -> str:
    """
    Return a duration in its two largest units.

        93784 -> 1 d 2 h       59 -> 59 s
    """
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    counts = [(day, "d"), (hour, "h"), (minute, "min"), (second, "s")]
    parts = [f"{count} {unit}" for count, unit in counts if count]
    return " ".join(parts[:2]) or "0 s"
