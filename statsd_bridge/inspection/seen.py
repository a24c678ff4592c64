"""The samples that a bridge has seen, and what its rules make of them, for a trial."""

from __future__ import annotations

from collections.abc import Iterator

from statsd_bridge.fastpath import AnyPipeline
from statsd_bridge.inspection.steps import Steps, parts
from statsd_bridge.line import parse_line
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.recent import SeenSample
from statsd_bridge.trial import Fate, encode_samples, fate_of

MAX_TRIED_SAMPLES = 10_000
"""Samples of a trial; to collect them takes 0.3 s of the reactor, in steps."""

STEP_SAMPLES = 20
"""Samples of a step, about half a millisecond."""

MAX_TRIED_CHARACTERS = 4_000_000
"""Characters of all names and tags."""


class SeenSamples(dict[SeenSample, Fate]):
    """Distinct samples that were seen, each with what becomes of it now."""

    def chunks(self) -> Steps[list[bytes]]:
        """Return them for a child process, encoded in steps."""
        items = list(self.items())
        chunks = []
        for part in parts(items, STEP_SAMPLES):
            chunks.append(encode_samples(part))
            yield
        return chunks


def seen_samples(pipeline: AnyPipeline, plain: Pipeline) -> Steps[SeenSamples]:
    """Return what was seen."""
    pipeline.flush()
    found = SeenSamples()
    characters = 0
    for number, sample in enumerate(_samples(pipeline, plain)):
        if sample not in found:
            table = plain.table
            found[sample] = fate_of(table.search.look_up(sample[0], sample[1]), sample)
            characters += len(sample[1]) + sum(len(k) + len(v) for k, v in sample[2])
        if len(found) >= MAX_TRIED_SAMPLES or characters > MAX_TRIED_CHARACTERS:
            break
        if number % STEP_SAMPLES == 0:
            yield
    return found


def _samples(pipeline: AnyPipeline, plain: Pipeline) -> Iterator[SeenSample]:
    # Copied: they may change between two steps.
    yield from list(plain.recent_samples)
    for line in pipeline.seen_lines():
        for sample in parse_line(line, plain.dialect).samples:
            yield sample.type, sample.name, sample.labels
