"""The Accept header chooses the format of the page."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.exposition.negotiation import Format, choose

OPEN = Format.OPENMETRICS
TEXT = Format.TEXT
PROTO = Format.PROTOBUF

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;"
    "version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
# With native histograms, protobuf comes first.
PROMETHEUS_2_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
    "encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,"
    "application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3_TEXT_FIRST = (
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "text/plain;version=0.0.4;q=0.5,"
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "application/openmetrics-text;version=0.0.1;q=0.3,*/*;q=0.2"
)
PROMETHEUS_2_53_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
    "encoding=delimited;q=0.5,application/openmetrics-text;version=1.0.0;q=0.4,"
    "application/openmetrics-text;version=0.0.1;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
# 3.0 to 3.4 add the parameter to protobuf, too.
PROMETHEUS_3_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
    "encoding=delimited;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;escaping=allow-utf-8;q=0.3,*/*;q=0.2"
)
PROTOBUF_LAST = (
    "text/plain;version=0.0.4;q=0.6,"
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
    "encoding=delimited;q=0.5,*/*;q=0.2"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
ONLY_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
    "encoding=delimited"
)

HEADERS = [
    ("", TEXT),
    ("*/*", TEXT),
    (PROMETHEUS_2, OPEN),
    (PROMETHEUS_2_PROTOBUF, PROTO),
    (PROMETHEUS_2_53_PROTOBUF, PROTO),
    (PROMETHEUS_3_PROTOBUF, PROTO),
    (PROTOBUF_LAST, TEXT),
    (PROMETHEUS_3, OPEN),
    (PROMETHEUS_3_TEXT_FIRST, TEXT),
    (BROWSER, TEXT),
    (ONLY_PROTOBUF, PROTO),
    (f"text/plain,application/openmetrics-text,{ONLY_PROTOBUF}", PROTO),
    (ONLY_PROTOBUF.replace("=delimited", '="delimited"'), PROTO),
    (ONLY_PROTOBUF.replace("=", " = ").replace("proto ", "Proto "), PROTO),
    (f"{ONLY_PROTOBUF};q=0", TEXT),
    (f"{ONLY_PROTOBUF};q=0.1,*/*", TEXT),
    # Not what the bridge has.
    ("application/vnd.google.protobuf", TEXT),
    (ONLY_PROTOBUF.replace("delimited", "text"), TEXT),
    (ONLY_PROTOBUF.replace("delimited", "compact-text"), TEXT),
    (ONLY_PROTOBUF.replace("MetricFamily", "Metric"), TEXT),
    (ONLY_PROTOBUF.replace(";encoding=delimited", ""), TEXT),
    (
        f"{ONLY_PROTOBUF.replace('delimited', 'text')},application/openmetrics-text",
        OPEN,
    ),
    # Nothing acceptable: the text format rather than an error.
    ("application/json", TEXT),
    ("text/plain", TEXT),
    ("text/plain;version=0.0.4", TEXT),
    ("application/openmetrics-text", OPEN),
    ("Application/OpenMetrics-Text; Version=1.0.0 ; Q=1", OPEN),
    ('application/openmetrics-text; version="1.0.0"', OPEN),
    ("application/openmetrics-text;version=0.0.1", OPEN),
    # A version that the bridge does not offer.
    ("application/openmetrics-text;version=2.0.0", TEXT),
    ("application/openmetrics-text;version=2.0.0,text/plain;q=0.1", TEXT),
    # q=0 excludes a format.
    ("application/openmetrics-text;q=0", TEXT),
    ("application/openmetrics-text;q=0,*/*", TEXT),
    ("text/plain;q=0,application/openmetrics-text;q=0.1", OPEN),
    ("text/plain;q=0.9,application/openmetrics-text;q=0.9", OPEN),
    ("text/plain,application/openmetrics-text;q=0.9", TEXT),
    # A quality is from 0 to 1.
    ("text/plain;q=-1", TEXT),
    ("text/plain,application/openmetrics-text;q=2", OPEN),
    ("text/plain,application/openmetrics-text;q=nan", TEXT),
    ("text/plain;q=2,application/openmetrics-text", OPEN),
    # The most specific range decides.
    ("application/*", OPEN),
    ("application/*,text/*", TEXT),
    ("text/plain;q=0,*/*", OPEN),
    ("application/openmetrics-text;q=0.2,*/*", TEXT),
    ("application/openmetrics-text;q=high", TEXT),
    (",;,q=1;=,", TEXT),
]


@pytest.mark.parametrize(("accept", "page_format"), HEADERS)
def test_the_format_is_chosen_by_the_header(accept: str, page_format: Format) -> None:
    """The format of higher quality is chosen, text in case of doubt."""
    assert choose(accept) is page_format


@given(st.text() | st.text(alphabet="*/,;q=.01 textplai-openmrcs"))
def test_any_header_gets_a_page(accept: str) -> None:
    """Any header chooses a format."""
    assert choose(accept) in Format


@pytest.mark.parametrize("page_format", Format)
def test_a_format_is_chosen_by_its_own_content_type(page_format: Format) -> None:
    """A header with the Content-Type of a format chooses that format."""
    accept = page_format.value.replace("; charset=utf-8", "")

    assert choose(accept) is page_format
