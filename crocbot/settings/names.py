"""Names of settings, and the rules that several of them share."""

from __future__ import annotations

PREFIX = "CROCBOT_"
TOKEN = "TELEGRAM_BOT_TOKEN"  # noqa: S105 (a name, not a token)
API_KEY = "OPENAI_API_KEY"
STATE_DIR = "CROCBOT_STATE_DIR"
DATABASE_URL = "CROCBOT_DATABASE_URL"
HEALTH_ADDRESS = "CROCBOT_HEALTH_ADDRESS"
DATABASE = "crocbot.sqlite3"
TOKEN_RULE = "must be a bot token as @BotFather shows it, 123456:ABC..."  # noqa: S105
URL_RULE = "must be a URL, https://host or http://host:port"
IDS_RULE = "must be Telegram user ids separated by commas, like 123,456"
SECONDS_RULE = "must be seconds, 0.1 to 86400"
