"""
What people read when there is no answer: one friendly sentence for every error.

No sentence contains anything that only the operator should know.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from crocbot.errors import AgentError, CrashError, TranscriptionError
from crocbot.turn_outcomes import AgentErrorReason as Reason
from crocbot.turn_outcomes import FileOutcome

PAIRING_CODE = (
    "We have not met. If you know who runs this bot, show them this code: {code}\n"
    "It is valid for one hour."
)
UNREADABLE_MESSAGE = (
    "Sorry, I cannot read this kind of message. Please write it as text."
)
CRASH_ERROR = (
    "Sorry, I crashed each time that I worked on this message, so I have given it up."
    " Please rephrase it."
)
NOTHING_SPOKEN = (
    "Sorry, I heard no words in your recording. Please try again, or write to me."
)
NOT_TRANSCRIBED = (
    "Sorry, I could not turn your recording into words. Please try again, or write to"
    " me."
)
LONG_RECORDING = (
    "Sorry, your recording is too long for me. Please send a shorter one, or write to"
    " me."
)
TOO_LARGE_FILE = "Sorry, that file is too large: I can read files of at most {size}."
TOO_MANY_FILES = (
    "Sorry, I can read at most {files} files of one message; I left out the others."
)
UNSUPPORTED_FILE = (
    "Sorry, I cannot read this kind of file, only images and text documents of at most"
    " {size}. Please write it as text."
)
FAILED_FILE = "Sorry, I could not load that file. Please send it again."
FILE_SENTENCES: Mapping[FileOutcome, str] = {
    FileOutcome.TOO_LARGE: TOO_LARGE_FILE,
    FileOutcome.EXCESS: TOO_MANY_FILES,
    FileOutcome.UNSUPPORTED: UNSUPPORTED_FILE,
    FileOutcome.FAILED: FAILED_FILE,
}
GENERIC_ERROR = "Sorry, something went wrong and I have no answer. Please try again."
ERROR_MESSAGES: Mapping[Reason, str] = {
    Reason.UNREACHABLE: "Sorry, I cannot reach the service that answers you right now."
    " Please try again in a minute.",
    Reason.TIMEOUT: "Sorry, the answer took too long, so I stopped waiting for it."
    " Please try again.",
    Reason.UNAUTHORIZED: "Sorry, I am not allowed to ask for an answer right now;"
    " the operator of this bot has to fix that.",
    Reason.OPERATOR: "Sorry, I cannot answer until the operator of this bot has changed"
    " something; until then another try will not help.",
    Reason.RATE_LIMITED: "Sorry, there are too many questions at the moment."
    " Please try again in a minute.",
    Reason.REFUSED: "Sorry, I cannot answer that. Please rephrase it, or begin anew"
    " with /new.",
    Reason.FAILED: "Sorry, something broke while I worked on the answer."
    " Please try again.",
    Reason.MALFORMED: "Sorry, I got an answer that I cannot read. Please try again.",
    Reason.CONTEXT_LENGTH: "Sorry, this is more than I can read at once. Please send a"
    " shorter message, or begin anew with /new.",
    Reason.CUT_SHORT: "Sorry, I have reached the greatest length of an answer; it ends"
    " here. Ask me to go on if you need the rest.",
    Reason.TOO_LONG: "Sorry, the answer is longer than I may send; it ends here.",
    Reason.EMPTY: "Sorry, I have no answer to that. Please rephrase it.",
    Reason.OTHER: GENERIC_ERROR,
}


# A shorter pause is "a minute".
MIN_NAMED_PAUSE_SECONDS = 90
NAMED_PAUSES: Mapping[Reason, str] = {
    Reason.RATE_LIMITED: "Sorry, there are too many questions at the moment."
    " Please try again in {}.",
    Reason.FAILED: "Sorry, the service that answers you is busy."
    " Please try again in {}.",
}
LATE_TRANSCRIPTION = (
    "Sorry, I cannot turn recordings into words at the moment. Please try again in {},"
    " or write to me."
)


def missing_enclosures(files: int, buttons: int) -> str:
    """
    Return the sentence about what an answer lacks, empty if that is nothing.

        2, 1 --> "(2 files and 1 button of this answer could not be sent.)"
    """
    counts = {"file": files, "button": buttons}
    words = [
        f"{count} {noun}{'' if count == 1 else 's'}"
        for noun, count in counts.items()
        if count
    ]
    return f"({' and '.join(words)} of this answer could not be sent.)" if words else ""


def error_message(error: Exception) -> str:
    """Return the sentence for an error of a turn."""
    if isinstance(error, CrashError):
        return CRASH_ERROR
    if isinstance(error, TranscriptionError):
        return _transcription_message(error)
    if not isinstance(error, AgentError):
        return GENERIC_ERROR
    wait = error.wait or 0
    if wait >= MIN_NAMED_PAUSE_SECONDS and error.reason in NAMED_PAUSES:
        return NAMED_PAUSES[error.reason].format(_pause(wait))
    return ERROR_MESSAGES[error.reason]


def file_sentence(outcome: FileOutcome, *, max_bytes: int, max_files: int) -> str:
    """Return the sentence about a file that the agent does not get."""
    size = size_in_words(max_bytes)
    return FILE_SENTENCES[outcome].format(size=size, files=max_files)


def size_in_words(count: int) -> str:
    """
    Return a number of bytes in words, rounded down: a file of this size is accepted.

        5242880 --> "5.2 MB"
    """
    for unit, size in (("MB", 1_000_000), ("kB", 1_000)):
        if count >= size:
            return f"{count * 10 // size / 10:g} {unit}"
    return f"{count} bytes"


def _transcription_message(error: TranscriptionError) -> str:
    if error.reason in {Reason.CONTEXT_LENGTH, Reason.TOO_LONG}:
        return LONG_RECORDING
    wait = error.wait or 0
    if wait >= MIN_NAMED_PAUSE_SECONDS:
        return LATE_TRANSCRIPTION.format(_pause(wait))
    return NOT_TRANSCRIBED


def _pause(seconds: float) -> str:
    """
    Return a pause in words, rounded up.

        432.0 --> "8 minutes"
    """
    minutes = math.ceil(seconds / 60)
    return f"{minutes} minutes" if minutes < 120 else f"{math.ceil(minutes / 60)} hours"
