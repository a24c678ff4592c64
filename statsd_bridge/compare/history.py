"""What two programs have shown over some time, for a comparison."""

from __future__ import annotations

from dataclasses import dataclass, field

from statsd_bridge.compare.page import Page, Series


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
    seen_in_theirs: set[Series] = field(default_factory=set)
    seen_in_ours: set[Series] = field(default_factory=set)

    def note(self, bracket: Bracket) -> None:
        """Take a further bracket, which is now the last one."""
        pages = [(self.last.theirs, bracket.theirs), (self.last.after, bracket.before)]
        pages.append((bracket.before, bracket.after))
        for earlier, later in pages:
            self.moved |= {
                series
                for series, numbers in later.numbers.items()
                if not _same(numbers, earlier.numbers.get(series))
            }
        old, new = self.last, bracket
        self.steady = old.theirs.numbers.keys() & new.theirs.numbers.keys()
        self.steady |= old.before.numbers.keys() & new.before.numbers.keys()
        self.seen_in_theirs |= bracket.theirs.numbers.keys()
        self.seen_in_ours |= bracket.before.numbers.keys()
        self.seen_in_ours |= bracket.after.numbers.keys()
        self.last = bracket


def _same(one: dict[str, float], other: dict[str, float] | None) -> bool:
    # NaN equals NaN.
    return other is not None and (
        one == other or [*map(repr, one.values())] == [*map(repr, other.values())]
    )
