"""
A function in the gateway's own process: `CROCBOT_AGENT=python`.

    CROCBOT_AGENT_FUNCTION=agent:answer

    Prompt --> Question --> function --> pieces --> text, files, buttons, usage
                            (calls.py)   (pieces.py)

An exception of the function, also SystemExit, is an error of the agent: the log gets
its traceback without texts of messages (`failure.py`), the person one sentence.
`docs/python-agent.md` describes the whole interface.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import aclosing

from crocbot import log
from crocbot.agents.answer import Accepts, Answer
from crocbot.agents.calls import AgentCalls, FunctionFailedError
from crocbot.agents.function import Function
from crocbot.agents.pieces import AnswerFile, read_piece
from crocbot.agents.question import (
    Forward,
    HistoryMessage,
    Medium,
    PressedButton,
    Question,
    QuestionFile,
    QuestionImage,
    ReplyTo,
    TextLink,
)
from crocbot.agents.rules import MAX_BODY_BYTES
from crocbot.content import Attachment, Context, Link
from crocbot.errors import AgentError
from crocbot.model import Prompt
from crocbot.turn_outcomes import AgentErrorReason

MAX_HIDDEN_CHARS = 100_000

logger = log.logger(__name__)


class PythonAgent:
    """Calls one function for each message."""

    name = "python"
    markdown = True
    remembers = True
    accepts = Accepts.IMAGES | Accepts.FILES

    def __init__(
        self,
        function: Function,
        *,
        system_prompt: str | None = None,
        max_file_bytes: int = 0,
    ) -> None:
        self._function = function
        self._system_prompt = system_prompt
        self._max_file_bytes = max_file_bytes
        self._calls = AgentCalls(function)
        # One answer at a time has a file from the disk in memory.
        self._reading = asyncio.Lock()

    async def answer(self, prompt: Prompt) -> Answer:
        """Call the function and yield the parts of its answer.  Raise AgentError."""
        question = question_of(prompt, self._system_prompt)
        pieces = self._calls.pieces(question, _hidden(question))
        chars = 0
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    # Also of what is not shown, such as a model's thinking.
                    chars += len(piece) if isinstance(piece, str) else 0
                    if chars > MAX_BODY_BYTES:
                        if isinstance(piece, str):
                            fits = len(piece) - (chars - MAX_BODY_BYTES)
                            yield await read_piece(piece[:fits], self._max_file_bytes)
                        text = f"the answer has more than {MAX_BODY_BYTES} characters"
                        raise AgentError(text, AgentErrorReason.TOO_LONG)
                    if isinstance(piece, AnswerFile):
                        async with self._reading:
                            yield await read_piece(piece, self._max_file_bytes)
                    else:
                        yield await read_piece(piece, self._max_file_bytes)
        except FunctionFailedError as error:
            logger.error(
                "the agent's function failed",
                function=self._function.name,
                update=question.update_id,
                exception=error.failure.traceback,
            )
            text = f"{self._function.name} failed: {error}"
            raise AgentError(text, AgentErrorReason.FAILED) from None

    async def check(self) -> str:
        """Return what was imported; the function is not called."""
        return f"{self._function.name} is imported; it was not called"

    async def close(self) -> None:
        """Cancel all calls."""
        await self._calls.close()


def question_of(prompt: Prompt, system_prompt: str | None) -> Question:
    """Return the question of a prompt."""
    message, context = prompt.message, prompt.message.context
    return Question(
        message=prompt.text,
        prompt=prompt.with_context,
        chat=message.chat.key,
        sender_id=message.sender_id,
        sender_name=context.sender,
        message_id=message.message_id,
        update_id=message.update_id,
        command=message.command,
        history=tuple(_history(prompt)),
        system_prompt=system_prompt,
        images=tuple(
            QuestionImage(mime_type=image.mime_type, content=image.content)
            for image in prompt.images
        ),
        files=tuple(
            QuestionFile(
                kind=file.type,
                mime_type=file.mime_type,
                content=file.content,
                name=file.name,
                duration=file.duration,
                quoted=file.quoted,
            )
            for file in prompt.files
        ),
        media=_media(message.attachments),
        reply_to=_reply_to(context),
        forward=_forward(context),
        links=_links(context.links),
        button=_button(context),
        edited=message.edited,
        spoken=message.spoken,
    )


def _history(prompt: Prompt) -> Iterator[HistoryMessage]:
    for exchange in prompt.history:
        yield HistoryMessage("user", exchange.prompt)
        yield HistoryMessage("assistant", exchange.answer)


def _media(attachments: Iterable[Attachment]) -> tuple[Medium, ...]:
    return tuple(
        Medium(
            kind=each.type,
            description=each.description,
            name=each.name,
            mime_type=each.mime_type,
            size=each.size,
            duration=each.duration,
            note=each.note,
        )
        for each in attachments
    )


def _links(links: Iterable[Link]) -> tuple[TextLink, ...]:
    return tuple(TextLink(link.text, link.url) for link in links)


def _reply_to(context: Context) -> ReplyTo | None:
    quoted = context.quoted
    if quoted is None:
        return None
    return ReplyTo(
        message_id=quoted.message_id,
        author=quoted.author,
        own=quoted.own,
        text=quoted.text,
        quote=quoted.part,
        media=_media(quoted.attachments),
        links=_links(quoted.links),
    )


def _forward(context: Context) -> Forward | None:
    origin = context.forward
    if origin is None:
        return None
    return Forward(kind=str(origin.type), name=origin.name, date=origin.date)


def _button(context: Context) -> PressedButton | None:
    press = context.press
    return None if press is None else PressedButton(data=press.data, label=press.label)


def _hidden(question: Question) -> Iterator[str]:
    """Yield the texts of messages, which no log may show."""
    yield question.prompt
    yield question.message
    yield question.sender_name or ""
    yield from (each.content for each in question.history)
    for file in question.files:
        yield file.name or ""
        if file.mime_type.startswith("text/"):
            yield file.content[:MAX_HIDDEN_CHARS].decode("utf-8", "replace")
