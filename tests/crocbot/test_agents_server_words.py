"""The words of errors in many wordings, and words that only look like them."""

from __future__ import annotations

import pytest

from crocbot.agents.server_errors import read_error
from crocbot.turn_outcomes import AgentErrorReason as Reason

WORDS = {
    Reason.CONTEXT_LENGTH: [
        "This model's maximum context length is 8192 tokens",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096",
        "context_window_exceeded",
        "Your prompt is too long",
        "The conversation is too long, please start a new one",
        "Input exceeds the model's limit of 8192 tokens",
        "Requested tokens (516) exceed context window of 512",
        "Prompt exceeds max length",
        "prompt length 5000 exceeds maximum 4096",
        "Please shorten your prompt",
        "message length exceeds limit",
        "input text too long",
        "the number of tokens in the prompt is greater than the model limit",
        "Range of input length should be [1, 30720]",
        "too many total text bytes",
        "Decoder prompt (length 9000) is longer than the maximum model length of 4096",
        "input length must be less than 4096",
        "Trying to keep the first 5000 tokens when context the overflows",
        "Reached context length of 4096 tokens with model",
        "The request is too large for the model's context",
        "max context reached",
        "Input token limit reached",
        "Exceeded maximum allowed tokens",
        "This request would exceed the model's context",
        "InvalidParameter: Total message token length exceed model limit",
        "query length exceeds",
        "prompt tokens 5000 > 4096",
        "The conversation has 5000 tokens, but the model window is 4096",
        "Input exceeds the model's window",
        "The prompt does not fit into the window of the model",
        "The messages exceed the attention window",
        "Your text is too big for our 8k window",
        "Token window of 4096 reached",
    ],
    Reason.OPERATOR: [
        "model 'x' not found, try pulling it first",
        "The model x does not exist",
        "Unknown model: x",
        "Invalid model name",
        "model x is not supported",
        "No such model",
        "Model x has been deprecated",
        "The requested model is unavailable",
        "Model not loaded",
        "There is no model named x",
        "unrecognized model x",
        "Could not find model x",
        "Model x not available on your plan",
        "You do not have access to model x",
        "model_not_available",
        "insufficient_quota",
        "Insufficient Balance",
        "You have run out of credits",
        "Not enough credits",
        "Your account has no credits",
        "Please add a payment method",
        "Your plan does not include this model",
        "billing_not_active",
        "Payment Required",
        "subscription expired",
        "Your credit balance is too low",
        "account suspended",
        "quota exceeded",
        "Out of credits",
        "Unknown endpoint",
        "Endpoint not found",
        "Invalid URL (POST /v1/v1/chat/completions)",
        "No route for path",
        "unknown path",
        "Cannot POST /chat/completions",
        "There are no models loaded",
        "No adapter x found",
        "This is not a chat model and thus not supported in this endpoint",
        "The model `gpt-4-32k` has been retired",
        "Deployment x does not exist",
        "You must provide a model parameter",
        "Missing model",
    ],
    Reason.RATE_LIMITED: [
        "Rate limit reached",
        "Too many requests",
        "429 Too Many Requests",
        "Requests per minute exceeded",
        "You are being throttled",
        "concurrency limit reached",
        "Resource has been exhausted (e.g. check quota).",
        "Too many concurrent requests",
        "TPM limit",
    ],
    Reason.REFUSED: [
        "Content policy violation",
        "Your request was rejected by our safety system",
        "flagged as inappropriate",
        "content_filter",
        "blocked by content moderation",
        "The input violates our usage policies",
        "Output data may contain inappropriate content",
        "request blocked by guardrail",
        "harmful content detected",
        "unsafe content",
    ],
    Reason.UNAUTHORIZED: [
        "Invalid API key",
        "Incorrect API key provided",
        "Unauthorized",
        "No auth credentials found",
        "Authentication failed",
        "API key expired",
        "Missing Authentication header",
        "Access denied",
        "invalid x-api-key",
        "Not authenticated",
        "User not found.",
        "Forbidden",
    ],
    Reason.FAILED: [
        "Overloaded",
        "Internal server error",
        "The server had an error",
        "Service unavailable",
        "upstream connect error",
        "Bad gateway",
        "Model is currently loading",
        "The engine is currently overloaded",
    ],
}


@pytest.mark.parametrize(
    ("reason", "words"), [(reason, one) for reason in WORDS for one in WORDS[reason]]
)
@pytest.mark.parametrize("status", [200, 400])
def test_words(reason: Reason, words: str, status: int) -> None:
    """The reason of an error is in its words, whatever the status is."""
    error = read_error(status, {"error": {"message": words}}, {})

    assert error.reason is reason


@pytest.mark.parametrize(
    ("status", "words", "reason"),
    [
        (400, "Invalid value: 'foo'. Supported values are: 'a', 'b'", Reason.REFUSED),
        (400, "temperature: must be at most 2", Reason.REFUSED),
        (400, "Unsupported parameter: 'top_k' is not supported", Reason.REFUSED),
        (503, "The model is currently unavailable", Reason.FAILED),
        (503, "This model is temporarily overloaded", Reason.FAILED),
        (500, "rate limit of the server behind this one", Reason.FAILED),
        (502, "authentication with the server behind this one failed", Reason.FAILED),
        (429, "Token limit of your account exceeded", Reason.RATE_LIMITED),
        (
            429,
            "No deployments available for selected model, Try again in 60 seconds",
            Reason.RATE_LIMITED,
        ),
        (503, "The model is temporarily not available", Reason.FAILED),
        (503, "The model `m` is not available right now", Reason.FAILED),
        (503, "Model m not loaded, please try again shortly", Reason.FAILED),
        (529, "No providers available at the moment", Reason.FAILED),
        (
            500,
            "Model m is not available, please retry your request later",
            Reason.FAILED,
        ),
        (200, "The model m is currently not available", Reason.FAILED),
        (503, "The model m is not available", Reason.OPERATOR),
        (404, "The model m is not available right now", Reason.OPERATOR),
        (429, "You are out of credits, try again in 3 days", Reason.OPERATOR),
        (429, "insufficient_quota: try again later", Reason.OPERATOR),
        (400, "window must be a number", Reason.REFUSED),
        (429, "Requests exceed the limit of this window", Reason.RATE_LIMITED),
        (403, "", Reason.UNAUTHORIZED),
        (404, "", Reason.OPERATOR),
        (418, "", Reason.REFUSED),
        (507, "", Reason.FAILED),
    ],
)
def test_status(status: int, words: str, reason: Reason) -> None:
    """Without known words the status decides, and where it contradicts them."""
    assert read_error(status, words, {}).reason is reason
