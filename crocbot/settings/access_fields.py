"""The bot, its state directory, and who is answered."""

from __future__ import annotations

from pydantic import BaseModel, Field

from crocbot.settings.names import IDS_RULE, TOKEN, TOKEN_RULE, URL_RULE
from crocbot.settings.values import Access, ApiUrl, Directory, Groups, Ids, Token


class AccessFields(BaseModel):
    """The settings of the bot and of access to it."""

    token: Token = Field(
        validation_alias=TOKEN,
        title="The token of your bot.",
        description=TOKEN_RULE,
    )
    telegram_api_url: ApiUrl = Field(
        "https://api.telegram.org",
        title="The URL of the Bot API server: Telegram's, your own, or the sandbox.",
        description=URL_RULE,
    )
    state_dir: Directory = Field(
        title="The directory of the inbox, the conversations and the pairings.",
        description="must be a directory",
    )
    access: Access = Field(
        "allowlist",
        title="Who is answered in private chats: listed users, also paired ones, all.",
        description="must be allowlist, pairing or open",
    )
    allow_from: Ids = Field(
        frozenset(),
        title="Telegram user ids of the users who are answered.",
        description=IDS_RULE,
    )
    groups: Groups = Field(
        {},
        title="Groups whose members are answered if they mention the bot or reply to"
        " it, or, with `:always`, in any case.",
        description="must be group ids separated by commas, each of them optionally"
        " followed by :mention or :always, like -1001234,-1005678:always",
    )
    operators: Ids = Field(
        frozenset(),
        title="User ids of operators; if empty, those of `CROCBOT_ALLOW_FROM`.",
        description=IDS_RULE,
    )
