"""Each fact to the numbers that it moves, and to no others."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot.model import (
    Decision,
    Disposition,
    ErrorType,
    Kind,
    Outcome,
    PollFailed,
    ReconnectReason,
    Severity,
    Trouble,
    Verdict,
)
from crocbot.telemetry.catalogue import Loss
from crocbot.telemetry.emitter import Emitter
from crocbot.telemetry.observer import Observer

AGENT_FAILED = Trouble(ErrorType.AGENT, Severity.WARNING)
NO_ACCESS = Decision(Verdict.NOT_LISTED)
UNKNOWN = ["crocbot.emitter.values_dropped.unknown:1|c"]


class FakeWire:
    """A wire that keeps the lines."""

    connected = True
    generation = 1
    sent = 0

    def __init__(self) -> None:
        self.lost = dict.fromkeys(Loss, 0)
        self.lines: list[str] = []

    def send(self, datagram: bytes) -> None:
        """Keep its lines."""
        self.lines += datagram.decode().split("\n")


def told(*facts: object) -> list[str]:
    """The lines that facts make."""
    wire = FakeWire()
    emitter = Emitter(wire, random=Random(1))  # type: ignore[arg-type]
    observer = Observer(emitter)
    emitter.flush()
    wire.lines.clear()
    for fact in facts:
        observer.report(fact)  # type: ignore[arg-type]
    emitter.flush()
    return wire.lines


@pytest.mark.parametrize(
    ("fact", "lines"),
    [
        (
            Outcome(Disposition.ANSWERED, Kind.TEXT, seconds=2.5),
            [
                "crocbot.messages.text:1|c",
                "crocbot.telegram.latency.text:2500.000000|ms",
            ],
        ),
        (
            Outcome(Disposition.ANSWERED, Kind.COMMAND, seconds=0.001),
            [
                "crocbot.messages.command:1|c",
                "crocbot.telegram.latency.command:1.000000|ms",
            ],
        ),
        (
            Outcome(Disposition.DENIED, Kind.TEXT, decision=NO_ACCESS),
            ["crocbot.messages.text:1|c"],
        ),
        (
            Outcome(Disposition.FAILED, Kind.MEDIA, error=AGENT_FAILED),
            ["crocbot.messages.media:1|c", "crocbot.errors.agent.warning:1|c"],
        ),
        # Only what was answered has a latency, even if somebody measured one.
        (Outcome(Disposition.FAILED, Kind.TEXT, 3.0), ["crocbot.messages.text:1|c"]),
        # Not everything is a message.
        (Outcome(Disposition.IGNORED), []),
        (
            Outcome(
                Disposition.SET_ASIDE,
                error=Trouble(ErrorType.PROCESSING, Severity.CRITICAL),
            ),
            ["crocbot.errors.processing.critical:1|c"],
        ),
        (AGENT_FAILED, ["crocbot.errors.agent.warning:1|c"]),
        *(
            (
                PollFailed(reason),
                [
                    f"crocbot.telegram.reconnects.{reason}:1|c",
                    f"crocbot.errors.{reason}.warning:1|c",
                ],
            )
            for reason in ReconnectReason
        ),
        ("no fact", UNKNOWN),
        (None, UNKNOWN),
        (Outcome(Disposition.ANSWERED, "sticker", 1.0), UNKNOWN),  # type: ignore[arg-type]
        (Trouble(ErrorType.AGENT, "fatal"), UNKNOWN),  # type: ignore[arg-type]
        (Trouble(["agent"], Severity.INFO), UNKNOWN),  # type: ignore[arg-type]
        (PollFailed("weather"), UNKNOWN),  # type: ignore[arg-type]
        (PollFailed(None), UNKNOWN),  # type: ignore[arg-type]
    ],
)
def test_a_fact_moves_its_numbers(fact: object, lines: list[str]) -> None:
    """A fact is counted where it belongs; an unknown one is counted as unknown."""
    assert sorted(told(fact)) == sorted(lines)


def test_every_word_of_the_model_is_known() -> None:
    """No kind, type, severity or reason of the nouns lacks a handle."""
    facts = [
        *(Outcome(Disposition.ANSWERED, kind, 1.0) for kind in Kind),
        *(Trouble(type, severity) for type in ErrorType for severity in Severity),
        *(PollFailed(reason) for reason in ReconnectReason),
    ]

    assert not [line for line in told(*facts) if "unknown" in line]


ODD = st.one_of(st.none(), st.text(), st.floats(), st.lists(st.text()))


@given(st.one_of(ODD, st.builds(Outcome, ODD, ODD, ODD, ODD, ODD)))
def test_no_fact_raises(fact: object) -> None:
    """Whatever is reported, reporting returns."""
    assert "|" in "".join(told(fact)) or told(fact) == []
