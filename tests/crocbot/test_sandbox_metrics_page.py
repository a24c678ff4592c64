"""Reading a metrics page, and the table of the five that matter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from crocbot.sandbox import metrics_page as page

PAGE = """
# HELP crocbot_uptime_seconds How long the gateway runs.
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
# TYPE odd gauge
odd{path="/{a,b}",other="a b"} NaN
"""


def test_it_reads_as_prometheus_clients_parser_does() -> None:
    """Names, labels and values are those that the official parser finds."""
    official = [
        (sample.name, sample.labels, str(float(sample.value)))
        for family in text_string_to_metric_families(PAGE)
        for sample in family.samples
    ]
    ours = [(one.name, one.labels, str(one.value)) for one in page.read(PAGE)]

    assert ours == official


plain = st.text(st.characters(codec="utf-8", exclude_characters='"\\\n\r'))


@given(
    st.from_regex(r"[a-z_]{1,9}", fullmatch=True),
    st.dictionaries(st.sampled_from(["type", "reason"]), plain),
    st.floats(),
)
def test_a_line_keeps_its_parts(
    name: str, labels: dict[str, str], value: float
) -> None:
    """Any name, labels and value come back as they were written."""
    inside = ",".join(f'{key}="{text}"' for key, text in labels.items())
    line = f"{name}{{{inside}}} {value}" if labels else f"{name} {value}"
    found = [(one.name, one.labels, str(one.value)) for one in page.read(line)]

    assert found == [(name, labels, str(value))]


def test_values_are_found_by_label() -> None:
    """The key is the label values; a name without labels has an empty key."""
    series = page.read(PAGE)

    assert page.by_label(series, page.MESSAGES) == {
        "text": 3,
        "media": 1e6,
    }
    assert page.by_label(series, page.UPTIME) == {"": 12.5432}
    assert page.by_label(series, "nothing") == {}


def test_the_table_has_the_five() -> None:
    """A line a metric: values, only what is not 0 among many, the mean latency."""
    words = [line.split(maxsplit=1) for line in page.table(page.read(PAGE))]

    assert words == [
        ["crocbot_uptime_seconds", "12.5"],
        ["crocbot_messages_total", "text 3   media 1000000"],
        ["crocbot_errors_total", "critical agent 2"],
        ["crocbot_telegram_latency_seconds", "text 3 (mean 20 ms)"],
        ["crocbot_telegram_reconnects_total", "not there yet"],
    ]


def test_a_table_of_nothing_says_so() -> None:
    """A page without our metrics makes a table that does not pretend."""
    assert all(line.endswith("not there yet") for line in page.table([]))


def test_many_zeros_are_told_in_short() -> None:
    """Series that are all 0 take one short line."""
    zeros = PAGE.replace('type="agent"} 2', 'type="agent"} 0')

    assert "0 in all 4 series" in "\n".join(page.table(page.read(zeros)))
