"""
/api/v1/: what the page shows, as JSON; docs/api.md describes it.

    path --> endpoint --> parameters --> an answer at once, or a job (jobs.py)
     404                     400

GET changes nothing.  Senders choose parts of what is shown, so all of it is escaped to
ASCII, and browsers must not guess its type.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from statsd_bridge.inspection import (
    CardinalityQuery,
    Json,
    Position,
    SeriesQuery,
    Steps,
)
from statsd_bridge.inspection.cardinality import SORTS
from statsd_bridge.inspection.rules import ONLY, RulesQuery, parse_start
from statsd_bridge.inspection.search import DEFAULT_LIMIT, MAX_LIMIT, MAX_WORDS
from statsd_bridge.model import MetricType
from statsd_bridge.settings import API_PATH
from statsd_bridge.web.base import NOT_DONE_YET, Backend, Page, PageRequest
from statsd_bridge.web.jobs import Jobs, encode_json, json_error, set_json_headers

Parameters = Mapping[str, Any]
"""Those of a request, as read by the parsers of an endpoint."""

Parsers = Mapping[str, Callable[[str], Any]]
"""Those of the parameters of an endpoint, which raise ValueError."""

T = TypeVar("T")

BUSY = "too many requests are in progress: try again later"


class BadParameterError(ValueError):
    """A parameter that cannot be used, and what would be right."""


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Return a parser of whole numbers within bounds."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            number = least - 1
        else:
            number = int(text)
        if not least <= number <= most:
            raise ValueError(f"is not a whole number from {least} to {most}")
        return number

    return parse


def unix_time(text: str) -> float:
    """Read a time in seconds."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("is not a time in Unix seconds, such as 1700000000")
    return number


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a parser of words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"is not one of {', '.join(choices)}")
        return text

    return parse


def words(text: str) -> tuple[str, ...]:
    """Read words that are searched for, in lower case."""
    found = tuple(dict.fromkeys(text.lower().split()))
    if len(found) > MAX_WORDS:
        raise ValueError(f"has more than {MAX_WORDS} words")
    return found


def raw_line(text: str) -> bytes:
    """Read a line, which need not be UTF-8."""
    if not text:
        raise ValueError("is not a line, such as a:1%7Cc")
    return text.encode("utf-8", "surrogateescape")


LIMIT = whole_number(1, MAX_LIMIT)


class Endpoint(Generic[T]):
    """One path below /api/v1/, and the parsers of its parameters, for GET and HEAD."""

    parsers: ClassVar[Parsers] = {}

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def get(self, parameters: Parameters) -> T:
        """Return the answer, or the steps of making it."""
        raise NotImplementedError


class Status(Endpoint[Json]):
    """/api/v1/status."""

    def get(self, _parameters: Parameters) -> Json:
        """Return whether all is well, and the head of the page."""
        return self.backend.inspector.status()


class Traffic(Endpoint[Json]):
    """/api/v1/traffic."""

    parsers: ClassVar[Parsers] = {"since": unix_time}

    def get(self, parameters: Parameters) -> Json:
        """Return the charts."""
        return self.backend.inspector.traffic(parameters.get("since", 0.0))


class SeriesPages(Endpoint[Steps[Json]]):
    """/api/v1/series."""

    parsers: ClassVar[Parsers] = {
        "search": words,
        "name": str,
        "type": lambda text: MetricType(one_of(*MetricType)(text)),
        "limit": LIMIT,
        "next": Position.parse,
    }

    def get(self, parameters: Parameters) -> Steps[Json]:
        """Return a page of series."""
        return self.backend.inspector.series(series_query(parameters))


class Rules(Endpoint[Steps[Json]]):
    """/api/v1/rules."""

    parsers: ClassVar[Parsers] = {
        "limit": LIMIT,
        "next": parse_start,
        "only": one_of(*ONLY),
    }

    def get(self, parameters: Parameters) -> Steps[Json]:
        """Return a page of rules."""
        return self.backend.inspector.rules(rules_query(parameters))


class Unmapped(Endpoint[Json]):
    """/api/v1/unmapped."""

    def get(self, _parameters: Parameters) -> Json:
        """Return names without a rule, and refused lines."""
        return self.backend.inspector.unmapped()


class ExplainLine(Endpoint[Json]):
    """/api/v1/explain."""

    parsers: ClassVar[Parsers] = {"line": raw_line}

    def get(self, parameters: Parameters) -> Json:
        """Return what would become of a line."""
        if "line" not in parameters:
            raise BadParameterError("line: is missing; write ?line=a:1%7Cc")
        answer: Json = self.backend.explain(parameters["line"])
        return answer


def rules_query(parameters: Parameters) -> RulesQuery:
    """Return the query of the parameters of /api/v1/rules."""
    given = {"start" if k == "next" else k: value for k, value in parameters.items()}
    return RulesQuery(**given)


def series_query(parameters: Parameters) -> SeriesQuery:
    """Return the query of the parameters of /api/v1/series."""
    names = {"search": "words", "next": "after"}
    given = {names.get(name, name): value for name, value in parameters.items()}
    return SeriesQuery(**{"limit": DEFAULT_LIMIT, **given})


class CardinalityPage(Endpoint[Steps[Json]]):
    """/api/v1/cardinality."""

    parsers: ClassVar[Parsers] = {
        "sort": one_of(*SORTS),
        "limit": LIMIT,
        "max_series": whole_number(1, 999_999_999),
    }

    def get(self, parameters: Parameters) -> Steps[Json]:
        """Return the largest families."""
        return self.backend.inspector.cardinality(CardinalityQuery(**parameters))


ENDPOINTS: Mapping[str, type[Endpoint[Any]]] = {
    "status": Status,
    "traffic": Traffic,
    "series": SeriesPages,
    "cardinality": CardinalityPage,
    "rules": Rules,
    "unmapped": Unmapped,
    "explain": ExplainLine,
}


def api_paths(backend: Backend, jobs: Jobs) -> dict[str, Page]:
    """Return the pages of the endpoints by their paths."""
    return {
        API_PATH + name: _EndpointPage(endpoint(backend), jobs)
        for name, endpoint in ENDPOINTS.items()
    }


class UnknownPath(Page):
    """The response to all other paths below /api/v1/."""

    def render(self, request: PageRequest) -> bytes:
        """Return status 404 and what there is."""
        choices = ", ".join([*ENDPOINTS, "try"])
        return json_error(request, 404, f"{API_PATH} has only: {choices}")


class _EndpointPage(Page):
    """One path."""

    def __init__(self, endpoint: Endpoint[Any], jobs: Jobs) -> None:
        self._endpoint = endpoint
        self._jobs = jobs

    def render(self, request: PageRequest) -> bytes | int:
        """Respond, or begin a job that does."""
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"allow", b"GET, HEAD")
            return json_error(request, 405, "the method is not GET or HEAD")
        try:
            parameters = read_parameters(request.args or {}, self._endpoint.parsers)
            return self._get(request, parameters)
        except BadParameterError as error:
            return json_error(request, 400, str(error))

    def _get(self, request: PageRequest, parameters: Parameters) -> bytes | int:
        answer = self._endpoint.get(parameters)
        if isinstance(answer, dict):
            set_json_headers(request)
            return json.dumps(answer).encode() + b"\n"
        if not self._jobs.add(request, encode_json(request, answer)):
            return json_error(request, 503, BUSY)
        return NOT_DONE_YET


def read_parameters(given: Mapping[bytes, list[bytes]], parsers: Parsers) -> Parameters:
    """Read the query of a request; raise BadParameterError for what cannot be used."""
    parameters: dict[str, Any] = {}
    for raw_name, values in given.items():
        name = raw_name.decode("utf-8", "backslashreplace")
        parse = parsers.get(name)
        if parse is None:
            choices = ", ".join(parsers) or "none"
            raise BadParameterError(
                f"{name!r} is not a parameter; there are: {choices}"
            )
        if len(values) > 1:
            raise BadParameterError(f"{name}: is repeated; write it once")
        try:
            errors = "surrogateescape" if parse is raw_line else "strict"
            parameters[name] = parse(values[0].decode(errors=errors))
        except UnicodeDecodeError as error:
            raise BadParameterError(f"{name}: is not UTF-8") from error
        except ValueError as error:
            shown = values[0][:100].decode("utf-8", "backslashreplace")
            raise BadParameterError(f"{name}: {shown!r} {error}") from error
    return parameters
