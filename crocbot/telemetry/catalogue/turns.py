"""The rows about messages, their turns, and the agent that answers."""

from __future__ import annotations

from enum import StrEnum

from crocbot.events import AgentErrorReason, DeliveryIssue
from crocbot.model import Disposition, ErrorType, MessageType, Severity, Verdict
from crocbot.telemetry.catalogue.metric import Metric, Segment, Type, words


class Direction(StrEnum):
    """Which way tokens went, seen from the agent."""

    INPUT = "input"
    OUTPUT = "output"


# A model can take minutes.
TURN_BUCKETS = (
    *(0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    *(10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)

MESSAGES = Metric(
    "crocbot.messages",
    "crocbot_messages_total",
    Type.COUNTER,
    "messages",
    "Messages whose turn has ended, answered or not, by what was sent.",
    "sum by (type) (rate(crocbot_messages_total[5m]))",
    (words("type", MessageType),),
    source="Outcome",
)
ERRORS = Metric(
    "crocbot.errors",
    "crocbot_errors_total",
    Type.COUNTER,
    "errors",
    "What went wrong, by where; critical needs a person, a warning mends itself.",
    'sum by (type) (increase(crocbot_errors_total{severity="critical"}[1h]))',
    (words("type", ErrorType), words("severity", Severity)),
    source="Outcome, ErrorEvent, PollFailed, ApiCall",
)
LATENCY = Metric(
    "crocbot.telegram.latency",
    "crocbot_telegram_latency_seconds",
    Type.HISTOGRAM,
    "seconds",
    "From a message received to its reply delivered; only messages that were answered.",
    "histogram_quantile(0.95, sum by (le) "
    "(rate(crocbot_telegram_latency_seconds_bucket[5m])))",
    (words("type", MessageType),),
    buckets=TURN_BUCKETS,
    source="Outcome",
)
TURNS = Metric(
    "crocbot.turns",
    "crocbot_turns_total",
    Type.COUNTER,
    "turns",
    "Turns of this process that ended, by how; the inbox has the totals of all time.",
    "sum by (disposition) (increase(crocbot_turns_total[1h]))",
    (words("disposition", Disposition),),
    source="Outcome",
)
TURNS_IN_FLIGHT = Metric(
    "crocbot.turns_in_flight",
    "crocbot_turns_in_flight",
    Type.GAUGE,
    "turns",
    "Turns that run now; at most CROCBOT_MAX_TURNS.",
    "max_over_time(crocbot_turns_in_flight[5m])",
    source="TurnsInFlight",
)
FIRST_TEXT = Metric(
    "crocbot.telegram.first_text",
    "crocbot_telegram_first_text_seconds",
    Type.HISTOGRAM,
    "seconds",
    "From a message received to the first words of its reply that can be read.",
    "histogram_quantile(0.95, sum by (le) "
    "(rate(crocbot_telegram_first_text_seconds_bucket[5m])))",
    buckets=TURN_BUCKETS,
    source="FirstText",
)
ACCESS_DENIALS = Metric(
    "crocbot.access.denials",
    "crocbot_access_denials_total",
    Type.COUNTER,
    "messages",
    "Messages of people or groups that were not let in, by the rule that says so.",
    "sum by (reason) (increase(crocbot_access_denials_total[1h]))",
    (
        Segment(
            "reason",
            tuple(verdict.value for verdict in Verdict if verdict != Verdict.ALLOWED),
        ),
    ),
    source="Outcome",
)
AGENT_LATENCY = Metric(
    "crocbot.agent.latency",
    "crocbot_agent_latency_seconds",
    Type.HISTOGRAM,
    "seconds",
    "From a question to the end of the agent's answer, or of the attempt.",
    "histogram_quantile(0.95, sum by (le) "
    "(rate(crocbot_agent_latency_seconds_bucket[5m])))",
    buckets=TURN_BUCKETS,
    source="AgentCall",
)
AGENT_FIRST_TOKEN = Metric(
    "crocbot.agent.first_token",
    "crocbot_agent_first_token_seconds",
    Type.HISTOGRAM,
    "seconds",
    "From a question to the first piece of the agent's answer.",
    "histogram_quantile(0.95, sum by (le) "
    "(rate(crocbot_agent_first_token_seconds_bucket[5m])))",
    buckets=TURN_BUCKETS,
    source="AgentCall",
)
AGENT_TOKENS = Metric(
    "crocbot.agent.tokens",
    "crocbot_agent_tokens_total",
    Type.COUNTER,
    "tokens",
    "Tokens that the agent says it used; 0 for an agent that does not say.",
    "sum by (direction) (increase(crocbot_agent_tokens_total[1d]))",
    (words("direction", Direction),),
    source="AgentCall",
)
AGENT_ERRORS = Metric(
    "crocbot.agent.errors",
    "crocbot_agent_errors_total",
    Type.COUNTER,
    "questions",
    "Questions to the agent that got no answer, by why.",
    "sum by (reason) (increase(crocbot_agent_errors_total[1h]))",
    (words("reason", AgentErrorReason),),
    source="AgentCall",
)
DELIVERY_SNAGS = Metric(
    "crocbot.delivery.snags",
    "crocbot_delivery_snags_total",
    Type.COUNTER,
    "pieces",
    "Pieces of replies that did not go out as they were meant, by what happened.",
    "sum by (snag) (increase(crocbot_delivery_snags_total[1h]))",
    (words("snag", DeliveryIssue),),
    source="DeliveryEvent",
)
