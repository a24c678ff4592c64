"""The gateway against a plain echo bot of python-telegram-bot, in one run."""
