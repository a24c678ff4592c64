"""What two programs have shown over some time, for a comparison."""

from __future__ import annotations

from dataclasses import dataclass, field

from statsd_bridge.compare.page import COUNTING, SUM, Page, Series


@dataclass(frozen=True, slots=True)
class Bracket:
    """A page of statsd_exporter, and the bridge's just before and after it."""

    before: Page
    theirs: Page
    after: Page


@dataclass(slots=True, kw_only=True)
class History:
    """What two programs have shown meanwhile, between `first` and `last`."""

    first: Bracket
    last: Bracket
    moved: set[Series] = field(default_factory=set)
    """Series of which a number has changed in one of them."""
    steady: set[Series] = field(default_factory=set)
    """Series that one of them has shown in both of the last two brackets."""
    interrupted: set[Series] = field(default_factory=set)
    """Series that were gone meanwhile, or of which a count fell: expired, and new."""
    paused: set[Series] = field(default_factory=set)
    """Series that have not changed in statsd_exporter from one bracket to the next."""
    expiring: set[str] = field(default_factory=set)
    """Names of which a series was gone or began again: they have a ttl."""
    seen_in_theirs: set[Series] = field(default_factory=set)
    seen_in_ours: set[Series] = field(default_factory=set)

    def note(self, bracket: Bracket) -> None:
        """Take a further bracket, which is now the last one."""
        pages = [(bracket.before, bracket.after)]
        if bracket is not self.last:
            pages.append((self.last.theirs, bracket.theirs))
            pages.append((self.last.after, bracket.before))
        for earlier, later in pages:
            changed = _changed(earlier, later)
            self.moved |= changed
            if later is bracket.theirs:
                self.paused |= later.numbers.keys() - changed
            gone = earlier.numbers.keys() - later.numbers.keys()
            gone |= _fallen(earlier, later)
            self.interrupted |= gone
            self.expiring |= {series.name for series in gone}
        old, new = self.last, bracket
        self.steady = old.theirs.numbers.keys() & new.theirs.numbers.keys()
        self.steady |= old.before.numbers.keys() & new.before.numbers.keys()
        self.seen_in_theirs |= bracket.theirs.numbers.keys()
        self.seen_in_ours |= bracket.before.numbers.keys()
        self.seen_in_ours |= bracket.after.numbers.keys()
        self.last = bracket


def _changed(earlier: Page, later: Page) -> set[Series]:
    return {
        series
        for series, numbers in later.numbers.items()
        if not _same(numbers, earlier.numbers.get(series))
    }


def _fallen(earlier: Page, later: Page) -> set[Series]:
    """Return the series of which a count is lower in the later page."""
    return {
        series
        for series in earlier.numbers.keys() & later.numbers.keys()
        if later.types[series.name] in COUNTING
        and any(
            later.numbers[series].get(key, number) < number
            for key, number in earlier.numbers[series].items()
            # A sum falls with a negative observation.
            if key != SUM
        )
    }


def _same(one: dict[str, float], other: dict[str, float] | None) -> bool:
    # NaN equals NaN.
    return other is not None and (
        one == other or [*map(repr, one.values())] == [*map(repr, other.values())]
    )
