"""The answer to the form with a mapping file: what the file would do."""

from __future__ import annotations

import json

from twisted.web.http import OK

from statsd_bridge.web.base import (
    NOT_DONE_YET,
    PageRequest,
    TrialAnswer,
    plain_error,
)
from statsd_bridge.web.pages import is_cross_origin
from statsd_bridge.web.trial import BODY_PROBLEMS, DEFAULT_FILE
from statsd_bridge.web.ui import trial
from statsd_bridge.web.ui.views import View


class TryView(View):
    """The page, for POST only."""

    title = "Try a mapping"
    up = "../"

    def render(self, request: PageRequest) -> bytes | int:
        """Try the file; respond when that is done."""
        if request.method != b"POST":
            request.setHeader(b"allow", b"POST")
            return plain_error(request, 405, b"405 method not allowed\n")
        if is_cross_origin(request):
            return plain_error(request, 403, b"requests of other sites are refused\n")
        if request.body_problem:
            problem = BODY_PROBLEMS[request.body_problem]
            return plain_error(request, request.body_problem, f"{problem}\n".encode())
        self._begin(request, trial.read_form(request.body))
        return NOT_DONE_YET

    def _begin(self, request: PageRequest, file: bytes) -> None:
        closed = request.notifyFinish()
        # Not an error: the client has closed its connection.
        closed.addErrback(lambda _: None)

        def respond(answer: TrialAnswer) -> None:
            if not closed.called:
                body = self._answer(request, answer, file)
                request.setHeader(b"content-length", b"%d" % len(body))
                request.write(body)
                request.finish()

        self.backend.try_mapping(file, DEFAULT_FILE).addCallback(respond)

    def _answer(self, request: PageRequest, answer: TrialAnswer, file: bytes) -> bytes:
        if len(answer.document) > trial.MAX_DOCUMENT_BYTES:
            problem = "the answer is too large for this page: use `statsd-bridge try`"
            return plain_error(request, 503, f"{problem}\n".encode())
        document = json.loads(answer.document)
        if answer.status != OK:
            text = f"{document['error']}\n"
            return plain_error(request, answer.status, text.encode())
        shown = file.decode("utf-8", "replace")
        return self.write(request, trial.render(document, shown, self.up))
