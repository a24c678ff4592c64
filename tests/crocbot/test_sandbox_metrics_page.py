"""Reading a metrics page, and the table of the five metrics of the mission."""

from __future__ import annotations

from crocbot.sandbox.metrics_page import MESSAGES, UPTIME, by_label, read, table

PAGE = """
# HELP crocbot_uptime_seconds Time since the gateway started.
# TYPE crocbot_uptime_seconds gauge
crocbot_uptime_seconds 12.5432
# TYPE crocbot_messages_total counter
crocbot_messages_total{type="text"} 3
crocbot_messages_total{type="media"} 1e+06
# TYPE crocbot_errors_total counter
crocbot_errors_total{severity="warning",type="network"} 0
crocbot_errors_total{severity="critical",type="network"} 0
crocbot_errors_total{severity="warning",type="agent"} 0
crocbot_errors_total{severity="critical",type="agent"} 2
# TYPE crocbot_telegram_latency_seconds histogram
crocbot_telegram_latency_seconds_bucket{type="text",le="0.01"} 1
crocbot_telegram_latency_seconds_bucket{type="text",le="+Inf"} 3
crocbot_telegram_latency_seconds_sum{type="text"} 0.06
crocbot_telegram_latency_seconds_count{type="text"} 3
"""


def test_values_are_found_by_label() -> None:
    """The key is the label values; a name without labels has an empty key."""
    samples = read(PAGE)

    assert by_label(samples, MESSAGES) == {"text": 3, "media": 1e6}
    assert by_label(samples, UPTIME) == {"": 12.5432}
    assert by_label(samples, "nothing") == {}


def test_the_table_has_the_five_metrics() -> None:
    """Values, of many series only those above 0, the mean latency."""
    assert [line.split(maxsplit=1) for line in table(read(PAGE))] == [
        ["crocbot_uptime_seconds", "12.5"],
        ["crocbot_messages_total", "text 3   media 1000000"],
        ["crocbot_errors_total", "critical agent 2"],
        ["crocbot_telegram_latency_seconds", "text 3 (mean 20 ms)"],
        ["crocbot_telegram_reconnects_total", "not there yet"],
    ]


def test_many_zeros_are_one_short_cell() -> None:
    """Series that are all 0 are only counted."""
    zeros = PAGE.replace('type="agent"} 2', 'type="agent"} 0')

    assert "0 in all 4 series" in "\n".join(table(read(zeros)))
