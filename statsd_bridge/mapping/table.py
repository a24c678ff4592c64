"""
The rules of a mapping file and the look-up of names, cached.

    globs first, in file order (or the most literal one, if unordered)
        then regexes, in file order, wherever they stand in the file
            else the name is unmapped and the defaults apply

A match depends only on sample type and name, so matches are cached, misses included.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from sys import getsizeof

from statsd_bridge.document import compose, read_file
from statsd_bridge.document.diagnostics import Diagnostics
from statsd_bridge.document.node import dismantle
from statsd_bridge.document.pace import NO_PACE, Pace
from statsd_bridge.document.section import Section, non_null
from statsd_bridge.mapping.glob import Trie
from statsd_bridge.mapping.overlap import UnreachableRules
from statsd_bridge.mapping.read import read_defaults, read_rule
from statsd_bridge.mapping.regex import PatternTree
from statsd_bridge.mapping.rule import Defaults, Match, Rule
from statsd_bridge.memory import Account
from statsd_bridge.model import (
    Action,
    CacheStats,
    MetricOptions,
    SampleType,
    SeriesSpec,
)
from statsd_bridge.syntax import escape_metric_name

MAX_CACHED_NAME_LENGTH = 1_024
"""Longer names are not cached."""

MAX_MATCH_BYTES = 16 * 1024
"""A larger match is not cached, so that it does not displace all others."""

MATCH_BYTES = 460
"""A match besides its texts: its key, its tuples and its place in the dict."""

TEXT_BYTES = 70
"""A label or a capture besides its text."""

Key = tuple[SampleType, str]

_UNMAPPED: tuple[Rule | None, Sequence[str]] = (None, ())


class RuleSearch:
    """The rules of one mapping file, and the look-up without a cache."""

    def __init__(
        self, rules: Sequence[Rule], defaults: Defaults, pace: Pace = NO_PACE
    ) -> None:
        self.rules: Sequence[Rule] = tuple(rules)
        self.globs = _tries(rules, pace, ordered=defaults.ordered)
        self._regexes = _pattern_trees(rules, pace)
        self.regex_types = frozenset(
            [each for each in SampleType if self._regexes[each]]
        )
        """Types of samples for which there are regexes."""
        self._unmapped_options = defaults.options

    def look_up(self, sample_type: SampleType, name: str) -> Match:
        """Return the match for a name, which is as received and without its tags."""
        segments = name.split(".")
        index = self.globs[sample_type].find(segments)
        if index is not None:
            rule = self.rules[index]
            captures = name, *[segments[star] for star in rule.stars]
            return _match(rule, sample_type, captures)
        if by_regex := self._regexes[sample_type].find(name):
            index, groups = by_regex
            return _match(self.rules[index], sample_type, groups)
        options = self._unmapped_options[sample_type]
        return Match(Action.UNMAPPED, SeriesSpec(escape_metric_name(name), (), options))

    def unmapped_options(self, sample_type: SampleType) -> MetricOptions:
        """Return the options of names that no rule matches."""
        return self._unmapped_options[sample_type]

    def dismantle(self, pace: Pace) -> None:
        """Remove all rules, one after the other."""
        for tree in set(self._regexes.values()):
            tree.dismantle(pace)
        rules, self.rules = list(self.rules), ()
        while rules:
            rules.pop()
            pace.step()
        for trie in set(self.globs.values()):
            trie.dismantle(pace)


class MatchCache:
    """
    Matches by sample type and name, charged to `account`.

    Bounded in number and in bytes; the least recently used one goes.  A match may be
    far larger than its name, because rules choose the labels.
    """

    def __init__(self, size: int) -> None:
        self.account = Account()
        self._size = size
        self._bytes = 0
        self._entries: OrderedDict[Key, tuple[Match, int]] = OrderedDict()
        """Each match with its size."""
        self._gets = self._hits = 0

    @property
    def stats(self) -> CacheStats:
        """The number of matches, of look-ups, and of those that found a match."""
        return CacheStats(len(self._entries), self._gets, self._hits)

    def get(self, key: Key) -> Match | None:
        """Return the match of a name, if it is cached."""
        self._gets += 1
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._hits += 1
        if len(self._entries) >= self._size:
            self._entries.move_to_end(key)
        return entry[0]

    def add(self, key: Key, match: Match) -> None:
        """Add a match, and remove others if there is no room for it."""
        size = _match_size(key, match)
        if size > MAX_MATCH_BYTES or not self._size:
            return
        entries, before = self._entries, self._bytes
        if len(entries) >= self._size:
            self._bytes -= entries.popitem(last=False)[1][1]
        while entries and not self.account.has_room(self._bytes - before + size):
            self._bytes -= entries.popitem(last=False)[1][1]
        if self.account.has_room(self._bytes - before + size):
            self._bytes += size
            entries[key] = match, size
        self.account.charge(self._bytes - before)

    def release(self) -> None:
        """Give back what all matches were charged; they are not used any more."""
        self.account.release(self._bytes)
        self._bytes = 0

    def clear(self) -> None:
        """Remove all matches, whose charge is released already."""
        self._entries.clear()


def _match_size(key: Key, match: Match) -> int:
    """Return the estimated size of a match with its key."""
    _, untagged, _, _, captures = match
    size = MATCH_BYTES + getsizeof(key[1]) + getsizeof(untagged.name)
    for capture in captures:
        size += TEXT_BYTES + getsizeof(capture)
    for _, value in untagged.labels:
        size += TEXT_BYTES + getsizeof(value)
    return size


class MappingTable:
    """
    The rules of one mapping file behind a cache; `warnings` are those of the file.

    `digest` is that of the text of the file.  `unreachable` has the index of each rule
    that can never match, with that of the rule that matches its names first.

    A table is in no reference cycle: the garbage collector of a bridge hardly ever
    visits old objects.
    """

    def __init__(
        self,
        search: RuleSearch,
        warnings: tuple[str, ...] = (),
        *,
        digest: bytes = b"",
        unreachable: Mapping[int, int] | None = None,
        cache_size: int,
    ) -> None:
        self.search = search
        self.warnings = warnings
        self.digest = digest
        self.unreachable = unreachable or {}
        self.hits = [0] * len(search.rules)
        """Samples that each rule matched, by its index; the pipeline counts them."""
        self.in_use_since = 0.0
        """Unix time since which `hits` are counted."""
        self._cache = MatchCache(cache_size)
        self._searches = 0
        """Look-ups that need no cache."""

    def __len__(self) -> int:
        return len(self.search.rules)

    def look_up(self, sample_type: SampleType, name: str) -> Match:
        """Return the match for a name, which is as received and without its tags."""
        if len(name) > MAX_CACHED_NAME_LENGTH:
            return self.search.look_up(sample_type, name)
        key = sample_type, name
        match = self._cache.get(key)
        if match is None:
            match = self.search.look_up(sample_type, name)
            self._cache.add(key, match)
        return match

    def find_rule(
        self, sample_type: SampleType, name: str
    ) -> tuple[Rule | None, Sequence[str]]:
        """
        Return the rule for a name, and the values for `TextPattern.fill`.

        The values are the segments of the name for a glob, the whole name and the
        groups for a regex.  A glob is found in less time than a cached match: the cache
        is only for regexes.
        """
        segments, search = name.split("."), self.search
        index = search.globs[sample_type].find(segments)
        if index is not None:
            self._searches += 1
            return search.rules[index], segments
        if sample_type not in search.regex_types:
            self._searches += 1
            return _UNMAPPED
        match = self.look_up(sample_type, name)
        return match.rule, () if match.rule is None else (name, *match.captures)

    def start_use(self, account: Account) -> None:
        """Charge the matches that are cached from now on to an account."""
        self._cache.account = account
        self.in_use_since = time.time()

    def end_use(self) -> None:
        """Give back what was charged: another table takes the place of this one."""
        self._cache.release()

    def dismantle(self, pace: Pace = NO_PACE) -> None:
        """
        Free the table piece by piece; it cannot be used afterwards.

        Freed at once, 100,000 globs or 5,000 regular expressions make all threads wait
        for 0.2 s.
        """
        self._cache.clear()
        self.search.dismantle(pace)

    @property
    def cache(self) -> CacheStats:
        """The figures of the cache of this table."""
        length, gets, hits = self._cache.stats
        return CacheStats(length, gets + self._searches, hits)


def load(
    path: str,
    *,
    strict: bool = False,
    cache_size: int = 1000,
    current: MappingTable | None = None,
    pace: Pace = NO_PACE,
) -> MappingTable:
    """
    Read a mapping file, or none if `path` is empty; ConfigError if it is invalid.

    Return `current`, which has the same options, if the file has not changed since.
    `pace` lets other threads run meanwhile.
    """
    text = read_file(path) if path else b""
    if current is not None and current.digest == _digest(text):
        return current
    return parse(text, path, strict=strict, cache_size=cache_size, pace=pace)


def parse(
    text: str | bytes,
    file: str,
    *,
    strict: bool = False,
    cache_size: int = 1000,
    pace: Pace = NO_PACE,
) -> MappingTable:
    """Parse the text of a mapping file; messages name it `file`."""
    diagnostics = Diagnostics(file, strict=strict, pace=pace)
    root = compose(text, file, pace=pace) if text else None
    try:
        section = Section(diagnostics, "", non_null(root))
        search = _read(section, diagnostics, pace)
    finally:
        dismantle(root, pace)
    unreachable = _find_unreachable(search, diagnostics, pace)
    return MappingTable(
        search,
        diagnostics.warnings(),
        digest=_digest(text),
        unreachable=unreachable,
        cache_size=cache_size,
    )


def _read(section: Section, diagnostics: Diagnostics, pace: Pace) -> RuleSearch:
    no_defaults = Section(diagnostics, "defaults", [])
    defaults = read_defaults(section.section("defaults") or no_defaults)
    # Reversed, so that each entry is freed when it is read.
    entries = (section.sections("mappings") or [])[::-1]
    rules: list[Rule] = []
    while entries:
        rules.append(read_rule(entries.pop(), len(rules), defaults))
    section.reject_unknown_keys()
    return RuleSearch(rules, defaults, pace)


def _digest(text: str | bytes) -> bytes:
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return hashlib.sha256(data).digest()


def _find_unreachable(
    search: RuleSearch, diagnostics: Diagnostics, pace: Pace
) -> Mapping[int, int]:
    """Find rules that can never match, and warn of each."""
    found: dict[int, int] = {}
    unreachable = UnreachableRules(search.rules, search.globs, pace)
    for each, winner in unreachable:
        found[each.index] = winner.index
        problem = f"never matches: mappings[{winner.index}] matches all its names first"
        diagnostics.warn(f"mappings[{each.index}]", each.line, problem)
    if not unreachable.is_complete:
        problem = "overlap so much that not all are checked for rules that never match"
        diagnostics.warn("mappings", 1, problem)
    return found


def _tries(
    rules: Sequence[Rule], pace: Pace, *, ordered: bool
) -> Mapping[SampleType, Trie]:
    tries: dict[SampleType, Trie] = {}
    globs = [rule for rule in rules if not rule.pattern]
    for types, chosen in _by_types(globs):
        trie = Trie(ordered=ordered)
        for rule in chosen:
            trie.add(rule.segments, rule.index)
            pace.step()
        tries |= dict.fromkeys(types, trie)
    return tries


def _pattern_trees(
    rules: Sequence[Rule], pace: Pace
) -> Mapping[SampleType, PatternTree]:
    trees: dict[SampleType, PatternTree] = {}
    for types, chosen in _by_types([rule for rule in rules if rule.pattern]):
        patterns = [(rule.pattern, rule.index) for rule in chosen if rule.pattern]
        trees |= dict.fromkeys(types, PatternTree(patterns, pace))
    return trees


def _by_types(
    rules: Sequence[Rule],
) -> Iterator[tuple[Sequence[SampleType], Sequence[Rule]]]:
    """
    Yield the rules for each sample type; types with the same rules come together.

    Most rules are for all types, and what is made of many rules is large.
    """
    kinds = {rule.sample_types for rule in rules}
    types: dict[frozenset[frozenset[SampleType]], list[SampleType]] = {}
    for each in SampleType:
        matching = frozenset(kind for kind in kinds if each in kind)
        types.setdefault(matching, []).append(each)
    for matching, alike in types.items():
        yield alike, [rule for rule in rules if rule.sample_types in matching]


def _match(rule: Rule, sample_type: SampleType, captures: tuple[str, ...]) -> Match:
    """Expand the templates of a rule; captures[0] is the whole match."""
    name = escape_metric_name(rule.name.expand(captures))
    labels = tuple([(key, each.expand(captures)) for key, each in rule.labels])
    spec = SeriesSpec(name, labels, rule.options[sample_type])
    return Match(rule.action, spec, rule.honor_labels, rule, captures[1:])
