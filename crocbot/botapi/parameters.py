"""Parameters of Bot API calls that are objects: replies, buttons, files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from telegram import InputFile

from crocbot.outgoing import Button, Buttons, FileKind, FileUpload

FILE_METHODS: Mapping[FileKind, str] = {
    FileKind.PHOTO: "sendPhoto",
    FileKind.VOICE: "sendVoice",
    FileKind.AUDIO: "sendAudio",
    FileKind.DOCUMENT: "sendDocument",
}
"""The method that sends a file; its parameter for the file is the kind."""

# A file may take longer: the slowest upload that is waited for.
UPLOAD_SECONDS = 30.0
MIN_UPLOAD_BYTES_PER_SECOND = 100_000


def reply_parameters(message_id: int | None) -> dict[str, Any] | None:
    """Return the message to reply to, or None; one that is gone is no error."""
    if message_id is None:
        return None
    return {"message_id": message_id, "allow_sending_without_reply": True}


def keyboard(buttons: Buttons) -> dict[str, Any] | None:
    """Return rows of buttons as an inline keyboard, or None."""
    if not buttons:
        return None
    return {"inline_keyboard": [[_button(each) for each in row] for row in buttons]}


def upload(file: FileUpload) -> InputFile:
    """Return a file for a multipart body, with the type of its content."""
    sent = InputFile(file.content, filename=file.name)
    # By the name it would be what the agent calls it.
    sent.mimetype = file.mime_type
    return sent


def upload_seconds(file: FileUpload) -> float:
    """Return the timeout of the call that sends a file."""
    return UPLOAD_SECONDS + len(file.content) / MIN_UPLOAD_BYTES_PER_SECOND


def _button(button: Button) -> dict[str, str]:
    if button.url is not None:
        return {"text": button.text, "url": button.url}
    return {"text": button.text, "callback_data": button.data or ""}
