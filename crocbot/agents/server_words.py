"""
The words of servers' errors, by their meaning.

    "model 'm' not found, try pulling it first"  -->  OPERATOR
    "Please reduce the length of the messages"   -->  CONTEXT_LENGTH

They are those of OpenAI, Azure, Anthropic, Gemini, Mistral, DeepSeek, Groq, xAI,
Cohere, OpenRouter, LiteLLM, Ollama, llama.cpp, LM Studio, vLLM, TGI and others;
`tests/crocbot/model_server.py` has them in whole responses.
"""

from __future__ import annotations

import re
from re import Pattern

from crocbot.turn_outcomes import AgentErrorReason as Reason


def any_of(*patterns: str) -> Pattern[str]:
    """Return a pattern that finds any of the patterns, in upper or lower case."""
    return re.compile("|".join(patterns), re.IGNORECASE)


# A limit of tokens a minute that one request alone exceeds: waiting does not help.
REQUEST_TOO_LARGE = any_of(r"request too large", r"tokens must be reduced")
CONTEXT_LENGTH = any_of(
    r"context[ _-]?(?:length|size|window)",
    r"\b(?:model|token|prompt|input)(?:'s|s)?[ _-](?:input |token )?window",
    r"(?:exceed\w*|too (?:long|large|big) for|(?:beyond|outside)(?: of)?|fit\w*"
    r"(?: in(?:to|side)?)?) (?:the |its |our )?.{0,30}\bwindow",
    r"max(?:imum)? context|model'?s context|context the overflows",
    r"\b(?:prompt|inputs?|messages?|request|conversation|history)\b[^.]{0,60}"
    r"\btoo (?:long|large|many tokens)",
    r"\b(?:prompt|input|messages?|query|text|content) (?:length|tokens?|size)\b"
    r".{0,40}(?:exceed|too |longer|greater|less than|>|limit)",
    r"prompt exceeds|shorten (?:your|the)|total text bytes",
    r"too many (?:input |prompt )?tokens",
    r"request_too_large|string_above_max_length|prompt_too_long",
    r"(?:input|prompt) token count",
    r"max(?:imum)?(?: allowed)? (?:prompt|input|model|sequence) (?:length|size|tokens)",
    r"maximum number of (?:input )?tokens",
    r"number of input tokens",
    r"token limit",
    r"exceed\w*\b.{0,60}\btokens?\b",
    r"\btokens?\b.{0,60}\b(?:exceed|(?:greater|longer|more) than)",
    r"reduce (?:the length|your (?:prompt|message))",
    r"max_model_len|n_ctx\b",
    r"`?inputs`? (?:tokens|must have less than)",
    r"range of input length",
    r"too large for model with",
    "上下文长度|超过最大长度|输入.{0,8}过长",
)
RATE_LIMITED = any_of(
    r"rate[ _-]?limit|\b[rt]p[md] limit",
    r"too[ _]many[ _](?:concurrent[ _])?requests|concurrency",
    r"(?:requests|tokens|queries) per (?:second|minute|hour|day)",
    r"throttl",
    r"resource[ _](?:has been )?exhausted",
    r"engine_overloaded|queue is full",
)
# A quota that comes back by itself, which Gemini words like one that does not.
RETRY_LATER = any_of(r"retry (?:in|after)", r"try again in", r"per[ _]?(?:minute|day)")
# With a status of a busy server these say that a model comes back by itself.
TEMPORARY = any_of(
    r"\btemporar(?:y|ily)\b|right now|at (?:the|this) moment|\bcurrently\b",
    r"\b(?:try|retry)\b.{0,30}\b(?:later|shortly|soon|in an?)\b",
    r"(?:try again|retry)(?: in| after):? \d",
)
QUOTA = any_of(r"exceeded your .{0,20}quota", r"quota (?:is |has been )?ex(?:cee|hau)")
INVALID_REQUEST = any_of(
    r"invalid[ _]request|bad ?request|invalid_argument|unprocessable|validation error"
)
MODEL = r"models?|adapters?|deployments?"
MONEY = any_of(
    r"insufficient[ _](?:quota|credits?|balance|funds)",
    r"(?:\bno|not enough|out of|add|more) credits?\b|payment method|top up|recharge",
    r"billing|payment required|credit balance|arrear|余额不足|欠费",
    r"subscription (?:has |is )?(?:expired|required|inactive)|plan does not include",
    r"budget[ _](?:has been )?exceeded|exceeded ?budget|spend(?:ing)? limit",
    r"(?:monthly|included) .{0,20}credits",
    r"account .{0,40}(?:deactivated|suspended|disabled|not active)",
)
OPERATOR = any_of(
    # The model.
    r"model[ _](?:not[ _](?:found|exist|supported|available|loaded)|does not exist"
    r"|decommissioned)",
    r"\b(?:no|unknown|invalid|unrecogni[sz]ed|unsupported|missing|find|no such"
    rf"|access to|provide an?)[ _](?:the |this )?(?:{MODEL})\b",
    r"invalid_model|not a valid model",
    rf"\b(?:{MODEL})\b.{{0,120}}?(?:does not exist|not found|not loaded|not supported"
    r"|not available|no longer available|(?<!temporarily )(?<!currently )unavailable"
    r"|decommissioned|deprecated|retired|has no provider|not allowed)",
    r"no models? (?:is |are )?loaded|could not load model|failed to load model",
    r"requires more system memory",
    r"deployment_?not_?found|no available channel|no healthy deployments?",
    r"no (?:endpoints|providers?) (?:found|available)|no allowed providers",
    r"not a chat model|does not support chat|try pulling it",
    # The address.
    r"unknown_url|unknown request url|unexpected endpoint|endpoint not found",
    r"(?:unknown|no such|invalid) (?:url|endpoint|path|route)",
    r"404 page not found|method not allowed|\bno route\b|cannot post /",
    r"plain http request .{0,20}sent to https|http request to an https server",
    r"api-version",
)
FILTERED = any_of(
    r"content[ _](?:filter|policy|moderation)|content management policy",
    r"responsible ?ai|usage policies|safety|moderation|\bflagged\b|inappropriate",
    r"prohibited|content exists risk|data_inspection_failed|guardrail|敏感|违规",
    r"harmful|unsafe",
)
UNAUTHORIZED = any_of(
    r"(?:invalid|incorrect|missing|no|expired)[ _](?:x-)?api[ _-]?key",
    r"api[ _-]?key (?:not valid|(?:is |has )?(?:invalid|missing|required|expired))",
    r"api_key_invalid|authenticat(?:ion|ed)|unauthori[sz]ed|permission[ _]denied",
    r"invalid (?:bearer |access )?token|access denied|\bforbidden\b|credentials",
    r"user not found",
)
OVERLOADED = any_of(
    r"overloaded|at capacity|temporarily unavailable|currently loading|try again later",
    r"loading model|server[ _](?:had an )?error|internal error|service unavailable",
    r"bad gateway|upstream connect",
)
MEANINGS: tuple[tuple[Pattern[str], Reason], ...] = (
    (REQUEST_TOO_LARGE, Reason.CONTEXT_LENGTH),
    (RATE_LIMITED, Reason.RATE_LIMITED),
    (CONTEXT_LENGTH, Reason.CONTEXT_LENGTH),
    (MONEY, Reason.OPERATOR),
    (OPERATOR, Reason.OPERATOR),
    (FILTERED, Reason.REFUSED),
    (UNAUTHORIZED, Reason.UNAUTHORIZED),
    (OVERLOADED, Reason.FAILED),
)
"""Words --> reason.  The first match counts: later rows have words that also occur in
errors of the earlier ones."""
