"""The page for people: what is escaped, how numbers read, headers and formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.errors import escaped
from statsd_bridge.web.ui import bars, charts, markup, numbers, series
from statsd_bridge.web.ui.accept import prefers_html
from statsd_bridge.web.ui.links import url
from statsd_bridge.web.ui.unmapped import multiline
from tests.statsd_bridge.web_in_memory import Backend

Ask = Callable[..., tuple[str, bytes]]


@pytest.fixture
def backend() -> Backend:
    """A backend in memory with two series."""
    backend = Backend()
    backend.path.feed(b"a.hits:3|c|#path:<b>\n" + b"a.time:12|ms")
    return backend


@pytest.fixture
def ask(backend: Backend) -> Ask:
    """Send a request; return the head in lower case and the body of the response."""

    def ask(path: str, headers: str = "", method: str = "GET", **options: object):
        connection = backend.connect(backend.server(**options))
        request = f"{method} {path} HTTP/1.0\r\nHost: x\r\n{headers}\r\n"
        connection.send(request.encode())
        backend.reactor.run_pending()
        head, _, body = connection.received.partition(b"\r\n\r\n")
        return head.decode().lower(), body

    return ask


BROWSER = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (BROWSER.strip().removeprefix("Accept: "), True),
        ("text/html", True),
        ("TEXT/HTML ; q=0.5, application/json;q=0.4", True),
        ("text/*", True),
        # curl, scripts and what cannot be read get JSON, as before.
        ("*/*", False),
        ("", False),
        ("application/json", False),
        ("application/json, text/html", False),
        ("text/html;q=0", False),
        ("text/html;q=x", False),
        ("text/html;q=0.5, */*", False),
    ],
)
def test_browsers_get_html(accept: str, expected: bool) -> None:
    """HTML is for clients that give it a higher quality than JSON."""
    assert prefers_html(accept) is expected


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain.name", "plain.name"),
        ("<b>&\"'", "&lt;b&gt;&amp;&quot;&#x27;"),
        ("\x00\x1b[31m\x7f\x85\n\t", r"\x00\x1b[31m\x7f\x85\n\t"),
        # Direction, no width, other spaces and lines, private use, lone surrogates.
        ("\u202e\u2066\u200f", r"\u202e\u2066\u200f"),
        ("a\u200b\ufeff\u2060b", r"a\u200b\ufeff\u2060b"),
        ("\xa0\u2028\u3000", r"\xa0\u2028\u3000"),
        ("\ue000\U000e0041\ud800", r"\ue000\U000e0041\ud800"),
        ("größe.温度", "größe.温度"),
    ],
)
def test_what_cannot_be_seen_is_an_escape(text: str, shown: str) -> None:
    """Markup is text, and each character that is not visible is shown by its code."""
    assert markup.html(text) == shown


class _Text(HTMLParser):
    """Collects the text and the elements of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.elements: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.elements.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(), st.dictionaries(st.text(), st.text(), max_size=3))
def test_no_text_becomes_markup(name: str, labels: dict[str, str]) -> None:
    """Whatever names, labels and lines contain, the elements are those of the page."""
    parsed = _Text(markup.series_name(name, labels))
    assert parsed.elements <= {"code", "b", "span", "wbr"}
    assert escaped(name[: markup.MAX_TEXT]) in parsed.text
    assert _Text(multiline(name)).elements == set()
    url("x", name=name)


@pytest.mark.parametrize(
    ("function", "value", "shown"),
    [
        (numbers.number, 1_234_567, "1,234,567"),
        (numbers.number, 0.25, "0.25"),
        (numbers.number, 1e300, "1e+300"),
        (numbers.number, "NaN", "NaN"),
        (numbers.number, 0.00001, "1e-05"),
        (numbers.rate, 12345.6, "12,346"),
        (numbers.rate, 1.2345, "1.23"),
        (numbers.rate, 0.0, "0"),
        (numbers.size, 1023, "1023 B"),
        (numbers.size, 1536, "1.5 KiB"),
        (numbers.size, 1023.99 * 1024, "1.0 MiB"),
        (numbers.size, 5e15, "4547 TiB"),
        (numbers.duration, 0, "0 s"),
        (numbers.duration, 0.25, "0.2 s"),
        (numbers.duration, 185, "3 min 5 s"),
        (numbers.duration, 3600, "1 h"),
        (numbers.duration, 190_000, "2 d 4 h"),
        (numbers.duration, -5, "0 s"),
    ],
)
def test_numbers_are_short(
    function: Callable[[object], str], value: object, shown: str
) -> None:
    """Thousands are apart, sizes and durations have their unit."""
    assert function(value) == shown


def test_times_are_for_people_and_programs() -> None:
    """A time is relative, with the whole one in UTC; a clock may be far off."""
    assert numbers.ago(1_000, 1_012) == (
        '<time datetime="1970-01-01T00:16:40Z" title="1970-01-01 00:16:40 UTC">'
        "12 s ago</time>"
    )
    assert "9999" in numbers.timestamp(1e18)


@pytest.mark.parametrize(
    ("value", "top"),
    [(0, 1), (1, 1), (1.2, 2), (4200, 5000), (7e9, 1e10), (0.03, 0.05)],
)
def test_a_scale_ends_with_a_round_number(value: float, top: float) -> None:
    """It is the next of 1, 2 and 5 times a power of ten."""
    assert charts.nice_top(value) == pytest.approx(top)


def test_a_chart_has_few_lines_and_a_text() -> None:
    """The smallest lines are added up; the label has the present values."""
    lines = {f"r{number}": [0.0, float(number)] for number in range(9)}
    drawn = charts.draw(charts.Chart("x", "Errors", lines), [95.0, 100.0], 100.0)
    assert drawn.count("<polyline") == charts.MAX_LINES + 1
    assert "other 6" in drawn
    assert 'points="895,1000 900,200"' in drawn
    assert "none" in charts.draw(charts.Chart("x", "Errors", {}), [], 100.0)


def test_a_histogram_is_a_picture() -> None:
    """Each bucket is a bar as high as its own count, not the cumulative one."""
    drawn = bars.buckets([(1, 10), (2, 50), ("+Inf", 50)])
    assert [part.partition('"')[0] for part in drawn.split(' height="')[1:]] == [
        "10.0",
        "40.0",
        "0.0",
    ]
    assert "most values in the one up to 2" in drawn
    assert bars.buckets([(1, 0), ("+Inf", 0)]) == ""


@pytest.mark.parametrize("path", ["/", "/ui", "/ui/live", "/ui/series", "/explain"])
def test_pages_are_guarded_by_headers(ask: Ask, path: str) -> None:
    """No script but the own one runs, nothing is kept or sent to other sites."""
    head, body = ask(path, BROWSER)
    assert head.startswith("http/1.0 200")
    policy = "content-security-policy: default-src 'none'; script-src 'self';"
    for line in (
        policy,
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
        "content-type: text/html; charset=utf-8",
    ):
        assert line in head
    assert b"<script>" not in body
    assert b"style=" not in body
    assert b" onclick" not in body


def test_the_policy_of_the_operator_takes_precedence(ask: Ask, tmp_path: Path) -> None:
    """A header of --web.config.file replaces that of the page, and only that."""
    config = tmp_path / "web.yml"
    policy = "default-src 'self'; frame-ancestors https://portal.example.org"
    headers = {"headers": {"Content-Security-Policy": policy}}
    config.write_text(json.dumps({"http_server_config": headers}))
    head, _ = ask("/", BROWSER, web_config=str(config))
    assert f"content-security-policy: {policy}" in head
    assert head.count("content-security-policy") == 1
    assert "x-content-type-options: nosniff" in head


@pytest.mark.parametrize("name", ["page.css", "page.js", "icon.svg"])
def test_files_are_kept_by_their_hash(ask: Ask, name: str) -> None:
    """The page names them with a hash, under which they never change; 304 otherwise."""
    _, page = ask("/")
    address = page.decode().split(f"ui/static/{name}")[1].partition('"')[0]
    head, body = ask(f"/ui/static/{name}{address}")
    assert "cache-control: public, max-age=31536000, immutable" in head
    assert "x-content-type-options: nosniff" in head
    assert b"http://" not in body.replace(b"http://www.w3.org/2000/svg", b"")

    head, again = ask(f"/ui/static/{name}")
    assert "cache-control: no-cache" in head
    assert again == body
    tag = head.partition("etag: ")[2].partition("\r\n")[0]
    head, nothing = ask(f"/ui/static/{name}", f'If-None-Match: "x", W/{tag}\r\n')
    assert head.startswith("http/1.0 304")
    assert nothing == b""
    assert "content-length" not in head
    assert ask(f"/ui/static/{name}", method="POST")[0].startswith("http/1.0 405")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ui/series?search=hits&type=&next=", 200),
        ("/ui/series?type=nothing", 400),
        ("/ui/series?next=%3Cb%3E", 400),
        ("/ui/series?other=1", 400),
        ("/ui/rules?only=never_matched", 200),
        ("/ui/rules?only=x", 400),
        ("/ui/none", 404),
    ],
)
def test_parameters_are_checked(ask: Ask, path: str, status: int) -> None:
    """A page has the parameters of the API; the empty fields of a form do not count."""
    head, _ = ask(path)
    assert head.startswith(f"http/1.0 {status}")
    assert ("content-type: text/html" in head) is (status == 200)
    # A refusal quotes the parameter as plain text.
    assert "x-content-type-options: nosniff" in head


def test_methods_that_change_something_are_refused(ask: Ask) -> None:
    """Only the main page has every method, like that of statsd_exporter."""
    assert ask("/ui/series", method="POST")[0].startswith("http/1.0 405")
    assert ask("/ui/live", method="DELETE")[0].startswith("http/1.0 405")
    assert ask("/", method="POST")[0].startswith("http/1.0 200")
    head, body = ask("/ui/series", method="HEAD")
    assert head.startswith("http/1.0 200")
    assert body == b""
    head, _ = ask("/explain?line=a:1%7Cc", BROWSER, method="POST")
    assert head.startswith("http/1.0 405")
    assert "allow: get, head" in head


def test_a_slash_behind_the_path_of_the_page(ask: Ask) -> None:
    """It leads to the page, also behind a proxy that cuts a prefix."""
    head, _ = ask("/ui/")
    assert head.startswith("http/1.0 307")
    assert "location: ../ui\r\n" in head


def test_a_line_with_a_semicolon_is_explained_whole(ask: Ask) -> None:
    """Only & divides the parameters of a request."""
    _, body = ask("/explain?line=a:1|c|%23x:1;y")
    assert json.loads(body)["line"] == "a:1|c|#x:1;y"


@pytest.mark.parametrize("path", ["/", "/ui/live"])
def test_charts_without_a_point_have_no_numbers(ask: Ask, path: str) -> None:
    """In the first seconds nothing is known; it is not 0."""
    _, body = ask(path)
    assert body.count(b"no value yet") == 2
    assert b"<b>0</b> <small>max" not in body


def test_the_main_page_has_no_column_without_values(ask: Ask, backend: Backend) -> None:
    """Without JavaScript its tables have what the page knows; others have the rest."""
    backend.path.feed(b"no.rule:1|c")
    _, home = ask("/")
    _, names = ask("/debug/unmapped", BROWSER)
    for title in (b"Rule to paste", b"Values of labels"):
        assert title not in home
    assert b"Rule to paste" in names


@pytest.mark.parametrize(
    ("looked_at", "seconds"), [(0, 5), (4_999, 5), (12_000, 15), (1_000_000, 1_005)]
)
def test_a_search_is_repeated_according_to_its_cost(
    looked_at: int, seconds: int
) -> None:
    """Also among many series, so that a page shows what arrives."""
    found = {"series": [], "looked_at": looked_at}
    section = series.render(found, series.Search(), 0.0, "")
    assert f'data-every="{seconds}"' in section
