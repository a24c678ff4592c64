"""
The pages: what each asks the backend for, and which sections it has.

    request --> documents of the API --> sections --> layout.py --> HTML

Those that look at all series are jobs, like the same paths of the API.
"""

from __future__ import annotations

import time
from typing import ClassVar, Final, NamedTuple

from statsd_bridge.inspection import SeriesQuery, Steps
from statsd_bridge.inspection.cardinality import CardinalityQuery
from statsd_bridge.inspection.rules import RulesQuery
from statsd_bridge.inspection.steps import run_at_once
from statsd_bridge.web.api import (
    BUSY,
    BadParameterError,
    CardinalityPage,
    Parameters,
    Parsers,
    Rules,
    SeriesPages,
    read_parameters,
    rules_query,
    series_query,
)
from statsd_bridge.web.base import (
    NOT_DONE_YET,
    Backend,
    Page,
    PageRequest,
    plain_error,
)
from statsd_bridge.web.jobs import Jobs
from statsd_bridge.web.ui import (
    cardinality,
    explanation,
    overview,
    rules,
    series,
    traffic,
    trial,
    unmapped,
)
from statsd_bridge.web.ui.accept import prefers_html
from statsd_bridge.web.ui.layout import Layout, write_headers
from statsd_bridge.web.ui.markup import Html, join

MAX_ROWS: Final = 15
"""Series on a page, and rules."""

MAX_NAMES: Final = 10
"""Names with the most series."""

MAX_NEWEST: Final = 5
"""Names without a rule, and refused lines, on the main page."""

LIVE_PART: Final = "ui/live"
UNMAPPED_PART: Final = "ui/unmapped"


def without_limit(parsers: Parsers) -> Parsers:
    """Return the parsers of a page of fixed length: rows of HTML take time."""
    return {name: each for name, each in parsers.items() if name != "limit"}


class Context(NamedTuple):
    """What all pages use."""

    backend: Backend
    jobs: Jobs
    layout: Layout


class View(Page):
    """A page of HTML for GET and HEAD; `up` leads from its path to the root."""

    title = ""
    up = ""
    is_home = False
    parsers: ClassVar[Parsers] = {}

    def __init__(self, context: Context) -> None:
        self.backend, self.jobs, self._layout = context

    def render(self, request: PageRequest) -> bytes | int:
        """Return the page, or begin a job that sends it."""
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"allow", b"GET, HEAD")
            return plain_error(request, 405, b"405 method not allowed\n")
        return self.checked(request)

    def checked(self, request: PageRequest) -> bytes | int:
        """Read the parameters; return the page, or begin a job that sends it."""
        # A form sends its empty fields, too.
        given = {n: each for n, each in (request.args or {}).items() if each != [b""]}
        try:
            parameters = read_parameters(given, self.parsers)
        except BadParameterError as error:
            return plain_error(request, 400, f"{error}\n".encode())
        return self.get(request, parameters)

    def get(self, request: PageRequest, parameters: Parameters) -> bytes | int:
        """Return the page, or begin a job that sends it."""
        return self.write(request, self.content(parameters))

    def content(self, parameters: Parameters) -> Html:
        """Return the sections."""
        raise NotImplementedError

    def write(self, request: PageRequest, content: Html) -> bytes:
        """Set the headers; return the page with its sections."""
        write_headers(request)
        return self._layout.page(self.title, self.up, content, is_home=self.is_home)


class JobView(View):
    """A page whose document is made in steps."""

    def get(self, request: PageRequest, parameters: Parameters) -> bytes | int:
        """Begin a job that sends the page."""
        if request.method == b"HEAD":
            write_headers(request)
            return b""
        if not self.jobs.add(request, self._write(request, parameters)):
            return plain_error(request, 503, f"{BUSY}\n".encode())
        return NOT_DONE_YET

    def _write(self, request: PageRequest, parameters: Parameters) -> Steps[bytes]:
        content = yield from self.steps(request, parameters)
        return self.write(request, content)

    def steps(self, request: PageRequest, parameters: Parameters) -> Steps[Html]:
        """Return the sections in steps."""
        raise NotImplementedError


class Live(View):
    """The sections that the script fetches every few seconds."""

    title = "statsd-bridge"
    up = "../"

    def content(self, parameters: Parameters) -> Html:
        """Return the overview and the charts."""
        return join(self.live_sections())

    def live_sections(self) -> list[Html]:
        """Return the overview and the charts."""
        inspector = self.backend.inspector
        status = inspector.status()
        return [
            overview.render(status, self.up),
            traffic.render(inspector.traffic(), status),
        ]


class Home(Live):
    """
    The main page: all sections, with a bounded sample of what they can show.

    Its cost does not depend on the number of series: it is a probe, too.
    """

    up = ""
    is_home = True

    def render(self, request: PageRequest) -> bytes | int:
        """Return the page, for every method, like statsd_exporter's page at `/`."""
        return self.write(request, self.content({}))

    def content(self, parameters: Parameters) -> Html:
        """Return all sections."""
        now = time.time()
        found = self.backend.inspector.sample_series(SeriesQuery(limit=MAX_ROWS))
        largest = self.backend.inspector.sample_cardinality(
            CardinalityQuery(limit=MAX_NAMES)
        )
        mapped = run_at_once(self.backend.inspector.rules(RulesQuery(limit=MAX_ROWS)))
        refused = self.backend.list_unmapped_and_failed()
        return join(
            [
                *self.live_sections(),
                series.render(found, series.Search(), now, self.up),
                cardinality.render(largest, cardinality.Ranking(), self.up),
                rules.render(mapped, rules.Place(), self.up),
                unmapped.render(
                    refused, now, self.up, path=UNMAPPED_PART, most=MAX_NEWEST
                ),
                explanation.render(None, "", self.up),
                trial.render(None, "", self.up),
            ]
        )


class SeriesView(JobView):
    """A page of the series that a search found."""

    title = "Series"
    up = "../"
    parsers: ClassVar[Parsers] = without_limit(SeriesPages.parsers)

    def steps(self, request: PageRequest, parameters: Parameters) -> Steps[Html]:
        """Search, then return the section."""
        query = series_query({"limit": MAX_ROWS, **parameters})
        found = yield from self.backend.inspector.series(query)
        search = series.Search(**_texts(request, series.Search._fields))
        return series.render(found, search, time.time(), self.up)


class CardinalityView(JobView):
    """The names with the most series, bytes or growth."""

    title = "Cardinality"
    up = "../"
    parsers: ClassVar[Parsers] = without_limit(CardinalityPage.parsers)

    def steps(self, request: PageRequest, parameters: Parameters) -> Steps[Html]:
        """Rank the names, then return the section."""
        query = CardinalityQuery(**{"limit": MAX_NAMES, **parameters})
        found = yield from self.backend.inspector.cardinality(query)
        texts = _texts(request, cardinality.Ranking._fields)
        given = {name: text for name, text in texts.items() if text}
        return cardinality.render(found, cardinality.Ranking(**given), self.up)


class RulesView(JobView):
    """A page of rules."""

    title = "Rules"
    up = "../"
    parsers: ClassVar[Parsers] = without_limit(Rules.parsers)

    def steps(self, request: PageRequest, parameters: Parameters) -> Steps[Html]:
        """Return the section."""
        query = rules_query({"limit": MAX_ROWS, **parameters})
        found = yield from self.backend.inspector.rules(query)
        place = rules.Place(**_texts(request, rules.Place._fields))
        return rules.render(found, place, self.up)


class UnmappedPart(View):
    """The newest names without a rule and refused lines, as the main page has them."""

    title = "Without a rule, or refused"
    up = "../"
    path = UNMAPPED_PART
    most = MAX_NEWEST

    def content(self, parameters: Parameters) -> Html:
        """Return the section."""
        found, now = self.backend.inspector.unmapped(), time.time()
        return unmapped.render(found, now, self.up, path=self.path, most=self.most)


class Unmapped(UnmappedPart):
    """All names without a rule and refused lines that the bridge remembers."""

    path = unmapped.PATH
    most = 1_000


class Explain(View):
    """The explanation of a line, any bytes; without a line the form for one."""

    title = "Explain a line"

    def checked(self, request: PageRequest) -> bytes:
        """Return the page."""
        line = (request.args or {}).get(b"line", [b""])[-1]
        explained = self.backend.explain(line) if line else None
        text = line.decode("utf-8", "surrogateescape")
        return self.write(request, explanation.render(explained, text, self.up))


class Negotiated(Page):
    """A page as HTML for those who prefer it, such as browsers; as JSON for others."""

    def __init__(self, html: Page, json: Page) -> None:
        self._html = html
        self._json = json

    def render(self, request: PageRequest) -> bytes | int:
        """Return the page in the format that the client prefers."""
        accept = (request.getHeader(b"accept") or b"").decode("latin-1")
        if prefers_html(accept):
            return self._html.render(request)
        request.setHeader(b"vary", b"Accept")
        return self._json.render(request)


def _texts(request: PageRequest, names: tuple[str, ...]) -> dict[str, str]:
    """Return parameters as they were sent; they are valid."""
    given = request.args or {}
    return {
        name: given.get(name.encode(), [b""])[0].decode("utf-8", "replace")
        for name in names
    }
