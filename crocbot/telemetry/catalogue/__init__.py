"""
Every metric of the gateway, once: nothing in, the rows out.

    turns.py telegram.py process.py lines.py  -->  CATALOGUE, in the order of the docs
    metric.py: what a row is
"""

from __future__ import annotations

from crocbot.telemetry.catalogue.lines import (
    LINES_LOST,
    LINES_SENT,
    VALUES_DROPPED,
    Drop,
    Loss,
)
from crocbot.telemetry.catalogue.metric import Metric, Segment, Type
from crocbot.telemetry.catalogue.process import (
    ALLOCATED_BLOCKS,
    BUILD_INFO,
    CPU,
    GC_DURATION,
    LOOP_LAG,
    MALLOC,
    MAX_FDS,
    OPEN_FDS,
    PYTHON_INFO,
    RESIDENT_MEMORY,
    START_TIME,
    TASKS,
    THREADS,
    UPTIME,
    VIRTUAL_MEMORY,
    Generation,
    Mode,
)
from crocbot.telemetry.catalogue.telegram import (
    API_LATENCY,
    FLOOD_WAIT_SECONDS,
    FLOOD_WAITS,
    INBOX_ACCEPTED,
    INBOX_CLOSED,
    INBOX_DUPLICATES,
    INBOX_OLDEST,
    INBOX_OPEN,
    POLL_AGE,
    RECONNECTS,
    UPDATES,
    WEBHOOK_REQUESTS,
)
from crocbot.telemetry.catalogue.turns import (
    ACCESS_DENIALS,
    AGENT_ERRORS,
    AGENT_FIRST_TOKEN,
    AGENT_LATENCY,
    AGENT_TOKENS,
    DELIVERY_SNAGS,
    ERRORS,
    FIRST_TEXT,
    LATENCY,
    MESSAGES,
    TURNS,
    TURNS_IN_FLIGHT,
    Direction,
)

__all__ = [
    "ACCESS_DENIALS",
    "AGENT_ERRORS",
    "AGENT_FIRST_TOKEN",
    "AGENT_LATENCY",
    "AGENT_TOKENS",
    "ALLOCATED_BLOCKS",
    "API_LATENCY",
    "BUILD_INFO",
    "CATALOGUE",
    "CPU",
    "DELIVERY_SNAGS",
    "Direction",
    "Drop",
    "ERRORS",
    "FIRST_TEXT",
    "FLOOD_WAITS",
    "FLOOD_WAIT_SECONDS",
    "GC_DURATION",
    "Generation",
    "INBOX_ACCEPTED",
    "INBOX_CLOSED",
    "INBOX_DUPLICATES",
    "INBOX_OLDEST",
    "INBOX_OPEN",
    "LATENCY",
    "LINES_LOST",
    "LINES_SENT",
    "LOOP_LAG",
    "MALLOC",
    "Loss",
    "MAX_FDS",
    "MESSAGES",
    "Metric",
    "Mode",
    "OPEN_FDS",
    "POLL_AGE",
    "PYTHON_INFO",
    "RECONNECTS",
    "RESIDENT_MEMORY",
    "START_TIME",
    "Segment",
    "TASKS",
    "THREADS",
    "TURNS",
    "TURNS_IN_FLIGHT",
    "Type",
    "UPDATES",
    "UPTIME",
    "VALUES_DROPPED",
    "VIRTUAL_MEMORY",
    "WEBHOOK_REQUESTS",
]

CATALOGUE = (
    # The mission.  These five names are fixed.
    *(UPTIME, MESSAGES, ERRORS, LATENCY, RECONNECTS),
    # Turns and the agent.
    *(TURNS, TURNS_IN_FLIGHT, FIRST_TEXT, ACCESS_DENIALS, DELIVERY_SNAGS),
    *(AGENT_LATENCY, AGENT_FIRST_TOKEN, AGENT_TOKENS, AGENT_ERRORS),
    # Telegram and the inbox.
    *(API_LATENCY, POLL_AGE, FLOOD_WAITS, FLOOD_WAIT_SECONDS, UPDATES),
    WEBHOOK_REQUESTS,
    *(INBOX_ACCEPTED, INBOX_CLOSED, INBOX_OPEN, INBOX_OLDEST, INBOX_DUPLICATES),
    # The process that runs it.
    *(CPU, RESIDENT_MEMORY, VIRTUAL_MEMORY, OPEN_FDS, MAX_FDS, START_TIME),
    *(LOOP_LAG, TASKS, THREADS, GC_DURATION, ALLOCATED_BLOCKS, MALLOC),
    *(PYTHON_INFO, BUILD_INFO),
    # What tells about all of it.
    *(LINES_SENT, LINES_LOST, VALUES_DROPPED),
)
"""Every row there is."""
