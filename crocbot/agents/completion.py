"""
Chat completions: the object of a whole answer, or a chunk of a stream, to a Completion.

    {"choices": [{"delta": {"content": "Hel"}}]}      -->  text "Hel"
    {"choices": [{"message": {"content": [...]},
                  "finish_reason": "length"}]}        -->  text, FinishReason.LENGTH
    {"usage": {"prompt_tokens": 9, ...}}              -->  Usage(9, ...)
    {"error": {...}}                                  -->  error

Servers differ in everything but the names of these fields.  A field of another type
counts as missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from crocbot.agents.responses import content_text, token_usage
from crocbot.agents.server_errors import is_error
from crocbot.model import Usage


class FinishReason(Enum):
    """Why a model stopped writing; OTHER is a word that is not known."""

    COMPLETE = "complete"
    LENGTH = "length"
    FILTERED = "filtered"
    FAILED = "failed"
    OTHER = "other"


# The words of OpenAI, Azure, Anthropic, Gemini, Mistral, DeepSeek, Zhipu, vLLM, TGI.
FINISH_WORDS: Mapping[FinishReason, tuple[str, ...]] = {
    FinishReason.COMPLETE: (
        *("stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete"),
        *("completed", "done", "finished", "tool_calls", "tool_use", "function_call"),
    ),
    FinishReason.LENGTH: (
        *("length", "max_tokens", "max_output_tokens", "model_length", "token_limit"),
        *("model_context_window_exceeded", "context_length"),
    ),
    FinishReason.FILTERED: (
        *("content_filter", "content_filtered", "safety", "refusal", "sensitive"),
        *("recitation", "blocklist", "prohibited_content", "spii", "image_safety"),
        *("guardrail_intervened", "language"),
    ),
    FinishReason.FAILED: (
        *("error", "network_error", "abort", "aborted", "cancelled", "canceled"),
        *("insufficient_system_resource", "timeout", "malformed_function_call"),
    ),
}
# An object without a choice that has a text under one of them explains why.
NOTICE_KEYS = ("message", "msg", "error_msg", "status_msg")
FINISH_REASONS = {word: key for key, words in FINISH_WORDS.items() for word in words}


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """
    The content of one object.

    `finish` is the server's word, None if the answer goes on.  `reasoning` means that
    the model thinks in a field of its own, which is never shown.  `error` is an error
    in place of an answer, None if there is none.  `notice` is an object with a message
    but without a choice, which is an error if no answer follows.
    """

    text: str = ""
    reasoning: bool = False
    finish: str | None = None
    usage: Usage | None = None
    error: object = None
    notice: object = None

    @property
    def finish_reason(self) -> FinishReason | None:
        """Return the meaning of `finish`."""
        if self.finish is None:
            return None
        return FINISH_REASONS.get(self.finish.lower(), FinishReason.OTHER)


def read_completion(value: object) -> Completion:
    """Read one parsed object.  Raise ValueError if its choices are not a list."""
    if isinstance(value, list) and value:
        # Gemini sends its errors in a list.
        value = value[0]
    if not isinstance(value, Mapping):
        return Completion()
    choice = _choice(value)
    message = _message(choice)
    usage = token_usage(value.get("usage"))
    finish = choice.get("finish_reason")
    return Completion(
        text=_text(choice, message),
        reasoning=any(message.get(key) for key in ("reasoning_content", "reasoning")),
        finish=finish if isinstance(finish, str) and finish else None,
        usage=usage[-1] if usage else None,
        error=_error(value, choice),
        notice=None if choice else _notice(value),
    )


def is_completion(value: object) -> bool:
    """Return whether an object is a whole answer, or says that there is none."""
    if not isinstance(value, Mapping):
        return False
    choice = _choice(value)
    return bool(_message(choice)) or "text" in choice


def _choice(value: Mapping[str, object]) -> Mapping[str, object]:
    choices = value.get("choices")
    if not isinstance(choices, list | None):
        raise ValueError("its choices are not a list")
    first = choices[0] if choices else None
    return first if isinstance(first, Mapping) else {}


def _message(choice: Mapping[str, object]) -> Mapping[str, object]:
    """Return the message, which some servers call so in a stream as well."""
    for key in ("delta", "message"):
        if isinstance(found := choice.get(key), Mapping):
            return found
    return {}


def _text(choice: Mapping[str, object], message: Mapping[str, object]) -> str:
    values = (message.get("content"), message.get("refusal"), choice.get("text"))
    return next((text for value in values if (text := content_text(value))), "")


def _error(value: Mapping[str, object], choice: Mapping[str, object]) -> object:
    """Return the part of an object that is an error."""
    if choice.get("error"):
        return {"error": choice["error"]}
    failed = is_error(value) or (not choice and value.get("detail"))
    return value if failed else None


def _notice(value: Mapping[str, object]) -> object:
    texts = [value.get(key) for key in NOTICE_KEYS]
    has_text = any(isinstance(text, str) and text.strip() for text in texts)
    return {"error": value} if has_text else None
