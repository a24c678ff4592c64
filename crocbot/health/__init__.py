"""
The health pages of the gateway, over HTTP; they never call Telegram.

    GET /healthz   200 while the process runs
    GET /readyz    200 if every condition holds, else 503; each has a line

    [+]telegram ok
    [-]inbox failed: database or disk is full
    [+]drain ok

`server.py` serves them, `status.py` a third page for `crocbot status`; `python -m
crocbot.health` requests them, for a container without curl.  This file imports nothing,
so that the latter can say what to install.
"""
