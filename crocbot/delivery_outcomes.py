"""What becomes of parts of an answer: label values of metrics, closed sets."""

from __future__ import annotations

from enum import StrEnum


class DeliveryIssue(StrEnum):
    """
    What kept a part of a reply from being delivered as intended.

    PLAIN_TEXT, WITHOUT_THREAD and WITHOUT_QUOTE: it was accepted only without its
    formatting, topic or quote.  WITHOUT_BUTTONS: without its buttons.  AS_DOCUMENT: a
    picture or sound was sent as a document, because it is none or was refused.
    EDIT_LOST: a message was not edited or deleted.  REPEATED: a part was sent again
    after a crash, because it is not known whether it had arrived.
    """

    PLAIN_TEXT = "plain_text"
    WITHOUT_THREAD = "without_thread"
    WITHOUT_QUOTE = "without_quote"
    WITHOUT_BUTTONS = "without_buttons"
    AS_DOCUMENT = "as_document"
    REPEATED = "repeated"
    RETRIED = "retried"
    EDIT_LOST = "edit_lost"
    BLOCKED = "blocked"
    REFUSED = "refused"
    GAVE_UP = "gave_up"


class RichOutcome(StrEnum):
    """
    What became of a rich message.

    UNSUPPORTED: the server has none; REFUSED and NOT_SENT: the classic form was sent.
    UNKNOWN: it may have arrived, and is not sent again.
    """

    SENT = "sent"
    REFUSED = "refused"
    UNSUPPORTED = "unsupported"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


class DraftOutcome(StrEnum):
    """
    What became of a draft of an answer.

    UNSUPPORTED: the server has no drafts; REFUSED: it did not accept this one.  LOST:
    a timeout or a network error, or the answer was complete before the draft arrived.
    """

    SHOWN = "shown"
    FLOOD_WAIT = "flood_wait"
    REFUSED = "refused"
    UNSUPPORTED = "unsupported"
    LOST = "lost"


class PushState(StrEnum):
    """The state of a pushed message; a failed one was refused, with a reason."""

    OPEN = "open"
    SENT = "sent"
    FAILED = "failed"


class PushRequestOutcome(StrEnum):
    """
    What became of a request to push a message.

    UNAUTHORIZED: without the secret; MALFORMED: not a message that can be sent; FULL:
    too many messages wait; UNAVAILABLE: the file could not be written.
    """

    STORED = "stored"
    UNAUTHORIZED = "unauthorized"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    FULL = "full"
    UNAVAILABLE = "unavailable"


class ButtonOutcome(StrEnum):
    """What became of a button of an answer."""

    SENT = "sent"
    REFUSED = "refused"
