"""Names that no rule matches, with rules for them, and lines that were refused."""

from __future__ import annotations

from collections.abc import Iterator

from statsd_bridge.inspection.steps import Json
from statsd_bridge.model import SampleType
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.recent import Occurrences
from statsd_bridge.suggest import by_name, suggest
from statsd_bridge.syntax import decode_escaped


def unmapped_and_refused(plain: Pipeline) -> Json:
    """Return unmapped names and refused lines, newest first."""
    return {
        "unmapped_names": [
            {"name": name, "type": type_, **_seen_json(seen)}
            for (name, type_), seen in plain.unmapped_names.newest_first()
        ],
        "refused_lines": [
            {"line": decode_escaped(line), "reason": reason, **_seen_json(seen)}
            for (line, reason), seen in plain.failed_lines.newest_first()
        ],
    }


def with_suggestions(plain: Pipeline) -> Json:
    """Return the same, each name with the YAML of a rule for it, None without one."""
    suggestions = by_name(suggest(_names(plain)))
    shown = unmapped_and_refused(plain)
    for each in shown["unmapped_names"]:
        found = suggestions.get((each["name"], SampleType(each["type"])))
        each["suggestion"] = found.yaml if found else None
    return shown


def _names(plain: Pipeline) -> Iterator[tuple[str, SampleType]]:
    for (name, type_), _ in plain.unmapped_names.newest_first():
        yield name, SampleType(type_)


def _seen_json(seen: Occurrences) -> dict[str, float]:
    return {"count": seen.times, "last_seen": round(seen.last_seen, 3)}
