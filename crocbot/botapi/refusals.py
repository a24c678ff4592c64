"""
Descriptions of refused calls (400 and 403) to errors.

    "Bad Request: TOPIC_CLOSED"               --> DeliveryError, Refusal.THREAD
    "Bad Request: CHAT_WRITE_FORBIDDEN"       --> ChatGoneError
    "Forbidden: bot was blocked by the user"  --> ChatGoneError

The texts are those of telegram-bot-api 10.0, of TDLib, and of older servers.  Names in
capital letters are errors of Telegram's own servers, which the Bot API passes on.
"""

from __future__ import annotations

from collections.abc import Mapping

from crocbot.errors import ChatGoneError, DeliveryError, FileTooLargeError, Refusal

# In lower case; a description contains one of them.
REFUSALS: Mapping[Refusal, tuple[str, ...]] = {
    Refusal.THREAD: (
        *("thread not found", "topic not found", "topic_closed", "topic_deleted"),
        *("topic_id_invalid", "top_msg_id_invalid", "chat is not a forum"),
        *("message thread identifier", "forum topic identifier", "access the topic"),
        *("invalid topic identifier", "doesn't have topics", "doesn't have threads"),
        *("can't have message threads", "threads can't be used", "topic is closed"),
    ),
    Refusal.QUOTE: (
        *("message to be replied", "message to reply", "reply message not found"),
        *("replied message not found", "reply_message_id_invalid", "reply_to_invalid"),
        *("quote_text_invalid", "reply_to_user_invalid", "reply parameters"),
    ),
    # Before FORMATTING, which has words of a wrong URL as well.
    Refusal.BUTTONS: (
        *("inline keyboard button", "inlinekeyboardbutton", "button_data_invalid"),
        *("button_url_invalid", "button_type_invalid", "button_invalid"),
        *("button_text_invalid", "button_user_", "reply_markup_invalid"),
        *("reply_markup_too_long", "as reply markup", "can't parse inline keyboard"),
    ),
    Refusal.FILE: (
        *("entity too large", "file is too big", "file too large", "file must be non"),
        *("photo_", "image_process_failed", "media_invalid", "media_empty"),
        *("media_file_invalid", "file_part", "file_id_invalid", "wrong type of"),
        *("wrong file identifier", "wrong remote file", "can't use file of type"),
        *("voice_messages_forbidden", "voice messages forbidden"),
        # Of a group whose members may write texts.
        *("rights to send photos", "rights to send documents", "rights to send audio"),
        *("rights to send voice", "rights to send music", "rights to send media"),
        *("chat_send_photos_f", "chat_send_docs_f", "chat_send_voices_f"),
        *("chat_send_audios_f", "chat_send_media_f"),
    ),
    Refusal.FORMATTING: (
        *("can't parse entities", "can't parse messageentity", "can't find end of"),
        *("entity_", "entities_", "entity begin", "entity url", "entity user"),
        *("incorrect offset", "incorrect length", "entity is out of"),
        *("custom emoji identifier", "media timestamp", "wrong http url"),
        *("parse_mode", "must be encoded in utf-8", "document_invalid"),
    ),
    Refusal.LENGTH: (
        *("message is too long", "message_too_long", "text is too long"),
        *("caption is too long", "caption_too_long"),
    ),
    Refusal.MESSAGE: (
        *("message to edit not found", "message to delete not found"),
        "message to react not found",
        *("message can't be edited", "message can't be deleted"),
        *("message identifier is not specified", "invalid message identifier"),
        *("message_id_invalid", "message_edit_time_expired", "message_author_required"),
        *("message_delete_forbidden", "no text in the message to edit"),
        *("message not found", "message_not_found", "msg_id_invalid"),
    ),
}
# Of getFile: more than 20 MB.
TOO_LARGE = "file is too big"
# The chat accepts no messages of the bot any more, like any other 403.
CHAT_GONE = (
    *("chat not found", "user not found", "peer_id_invalid", "chat_id_invalid"),
    *("chat was deactivated", "chat is deactivated", "chat was deleted"),
    *(
        "bot is not a member",
        "bot was kicked",
        "bot was blocked",
        "user is deactivated",
    ),
    *("have no rights to send", "not enough rights to send", "have no write access"),
    *("can't access the chat", "chat is not accessible", "channel_private"),
    *("need administrator rights in the channel", "chat_admin_required"),
    *("chat_write_forbidden", "chat_send_plain_forbidden", "chat_restricted"),
    *("chat_guest_send_forbidden", "chat_forbidden", "user_banned_in_channel"),
    *("channel_invalid", "channel_public_group_na", "user_id_invalid"),
    *("input_user_deactivated", "user_deactivated", "user_is_blocked"),
    *("user_deleted", "user_is_bot", "user_bot_invalid", "user_privacy_restricted"),
    *("premium_account_required", "privacy_premium_required"),
    *("allow_payment_required", "you_blocked_user"),
)


def delivery_error(description: str, *, forbidden: bool) -> DeliveryError:
    """Return the error for a description; `forbidden` means status 403."""
    text = f"Telegram refused the call: {description}"
    lowered = description.lower()
    if TOO_LARGE in lowered:
        return FileTooLargeError(text)
    for refusal, parts in REFUSALS.items():
        if any(part in lowered for part in parts):
            return DeliveryError(text, refusal)
    if forbidden or any(part in lowered for part in CHAT_GONE):
        return ChatGoneError(text)
    return DeliveryError(text)
