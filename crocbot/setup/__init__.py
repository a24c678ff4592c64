"""
The first run: what `crocbot init` finds out and installs; it asks no one.

    agents.py     what each agent needs, as questions
    senders.py    whose token it is; who wrote to the bot, without confirming anything
    unit.py       a systemd user unit for the gateway of a directory

The dialogue itself is in `cli/`; `settings/env_file.py` writes the file.  This file
imports nothing, so that `--help` is quick.
"""
