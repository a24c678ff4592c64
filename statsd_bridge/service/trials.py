"""
Trials of mapping files, one at a time, in a child process.

    request --> reactor, in slices: samples that were seen --> thread --> child process
                                                                 |  pickled Trial
                                           answer in JSON <------'
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from statsd_bridge import exposition
from statsd_bridge.fastpath import AnyPipeline
from statsd_bridge.inspection.seen import seen_samples
from statsd_bridge.inspection.steps import Steps
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.service.build import Components, text_limits
from statsd_bridge.threads import DaemonThreads, Threads
from statsd_bridge.trial import Limits, Trial, encode_trial
from statsd_bridge.web import TrialAnswer

TRIAL_SECONDS = 10.0
"""Time of a trial, from its request on."""

SLICE_SECONDS = 0.002
"""Work on the reactor between two looks at the sockets."""

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Bytes of an answer: 500 changes whose labels are as long as allowed."""

BUSY = "another mapping is being tried: try again in some seconds"
TOO_SLOW = (
    f"the trial took more than {TRIAL_SECONDS:.0f} s and was ended: try a smaller file"
)
FAILED = "the trial failed: its process ended without an answer, see the log"

_CHILD = "from statsd_bridge.trial import main; main()"


class Trials:
    """Tries mapping files on what a bridge has seen."""

    def __init__(self, components: Components, threads: Threads | None = None) -> None:
        self._components = components
        self._reactor: Any = components.reactor
        # A thread only waits for the process.
        self._threads = threads or DaemonThreads(self._reactor, "trials", 1)
        self._is_running = False

    def run(self, text: bytes, file: str) -> Deferred[TrialAnswer]:
        """Try the text of a file, which messages name `file`."""
        if self._is_running:
            return succeed(_error(503, BUSY))
        self._is_running = True
        deadline = time.monotonic() + TRIAL_SECONDS
        components = self._components
        collected = self._do(_collect(components.pipeline, components.plain))
        answer = collected.addCallback(self._start, text, file, deadline)
        return answer.addErrback(self._fail).addBoth(self._end)

    def _do(self, steps: Steps[list[bytes]]) -> Deferred[Any]:
        """Do all steps, a slice of them in each iteration of the reactor."""
        done: Deferred[Any] = Deferred()

        def do_slice() -> None:
            ends_at = time.monotonic() + SLICE_SECONDS
            try:
                while time.monotonic() < ends_at:
                    next(steps)
            except StopIteration as ended:
                done.callback(ended.value)
            except Exception:
                done.errback()
            else:
                self._reactor.callLater(0, do_slice)

        self._reactor.callLater(0, do_slice)
        return done

    def _start(
        self,
        samples: list[bytes],
        text: bytes,
        file: str,
        deadline: float,
    ) -> Deferred[TrialAnswer]:
        settings = self._components.settings
        trial = Trial(
            text=text,
            file=file,
            strict=settings.mapping_strict,
            limits=Limits(
                max_series=settings.max_series,
                texts=text_limits(settings),
                reserved=exposition.reserved_names(),
            ),
        )
        return self._threads.run(_run_child, trial, samples, deadline)

    def _fail(self, failure: Failure) -> TrialAnswer:
        if isinstance(failure.value, Exception):
            self._components.bugs.report(failure.value)
        return _error(503, FAILED)

    def _end(self, answer: TrialAnswer) -> TrialAnswer:
        self._is_running = False
        return answer


def _collect(pipeline: AnyPipeline, plain: Pipeline) -> Steps[list[bytes]]:
    """Return what was seen, for the child process."""
    samples = yield from seen_samples(pipeline, plain)
    chunks = yield from samples.chunks()
    return chunks


def _run_child(trial: Trial, samples: Sequence[bytes], deadline: float) -> TrialAnswer:
    """Run a trial in a child process, which is ended at the deadline."""
    # Imported here: no start needs it.
    import subprocess

    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(  # noqa: S603 (no shell)
            [sys.executable, "-c", _CHILD],
            input=encode_trial(trial, samples),
            capture_output=True,
            env=environment,
            timeout=max(0.1, deadline - time.monotonic()),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _error(503, TOO_SLOW)
    if done.returncode or len(done.stdout) > MAX_ANSWER_BYTES:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise RuntimeError(f"the trial ended with code {done.returncode}: {last}")
    return TrialAnswer(200, done.stdout + b"\n")


def _error(status: int, problem: str) -> TrialAnswer:
    return TrialAnswer(status, json.dumps({"error": problem}).encode() + b"\n")
