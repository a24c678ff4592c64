"""A Telegram gateway that loses nothing. Start at model.py, then turn/turn.py."""
