"""POST /api/v1/try: what another mapping file would do."""

from __future__ import annotations

from statsd_bridge.web.base import (
    NOT_DONE_YET,
    BackendPage,
    PageRequest,
    TrialAnswer,
)
from statsd_bridge.web.jobs import json_error, set_json_headers
from statsd_bridge.web.pages import is_cross_origin

DEFAULT_FILE = "mapping.yml"
MAX_FILE_LENGTH = 256
"""Characters of the name of a file."""

BUSY = 503

BODY_PROBLEMS = {
    413: "the mapping file has more than 1 MiB",
    BUSY: "too many files are being sent: try again later",
}


class Try(BackendPage):
    """The page: its body is a mapping file, `?file=` its name in messages."""

    def render(self, request: PageRequest) -> bytes | int:
        """Try the file; respond when that is done."""
        if request.method != b"POST":
            request.setHeader(b"allow", b"POST")
            return json_error(request, 405, "the method is not POST")
        if is_cross_origin(request):
            return json_error(request, 403, "requests of other sites are refused")
        if request.body_problem:
            problem = BODY_PROBLEMS[request.body_problem]
            return json_error(request, request.body_problem, problem)
        names = (request.args or {}).get(b"file", [])
        unknown = [name for name in request.args or {} if name != b"file"]
        if unknown or len(names) > 1:
            return json_error(request, 400, "the only parameter is file, at most once")
        file = names[0].decode("utf-8", "backslashreplace") if names else DEFAULT_FILE
        self._begin(request, file[:MAX_FILE_LENGTH])
        return NOT_DONE_YET

    def _begin(self, request: PageRequest, file: str) -> None:
        closed = request.notifyFinish()
        # Not an error: the client has closed its connection.
        closed.addErrback(lambda _: None)

        def respond(answer: TrialAnswer) -> None:
            if not closed.called:
                request.setResponseCode(answer.status)
                set_json_headers(request)
                if answer.status == BUSY:
                    request.setHeader(b"retry-after", b"1")
                request.setHeader(b"content-length", b"%d" % len(answer.document))
                request.write(answer.document)
                request.finish()

        self.backend.try_mapping(request.body, file).addCallback(respond)
