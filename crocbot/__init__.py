"""A Telegram gateway that loses nothing. Start reading at model.py, then turn.py."""
