"""The report of a trial, as a bridge answers it, for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

KINDS: Final = {
    "conflict": "would conflict",
    "refused": "would be refused",
    "dropped": "newly dropped",
    "vanishes": "would vanish",
    "appears": "would appear",
    "renamed": "renamed",
    "labels": "with other labels",
    "type": "of another type",
    "options": "with other options",
    "unmapped": "newly unmapped",
}


@dataclass(frozen=True, slots=True)
class Report:
    """The document of a trial."""

    is_clean: bool
    error: str | None
    document: Mapping[str, Any]

    def as_text(self) -> str:
        """Return one line for each change, then a summary."""
        return "".join(f"{row}\n" for row in self._rows())

    def _rows(self) -> Iterator[str]:
        document = self.document
        for change in document["changes"]:
            yield _row(change)
        for key, word in (("appear", "appears"), ("vanish", "vanishes")):
            for series in document[key]:
                yield f"{word}: {_series(series)}"
        if document["truncated"]:
            yield f"and more: only the first {len(document['changes'])} are listed"
        yield _summary(document)


def read(document: Mapping[str, Any]) -> Report | None:
    """Return the report of an answer, or None if it is not one."""
    try:
        report = Report(document["clean"], document["error"], document)
        lists = [document[key] for key in ("changes", "appear", "vanish")]
        if not (
            isinstance(report.is_clean, bool)
            and isinstance(report.error, str | None)
            and all(isinstance(each, list) for each in lists)
        ):
            return None
        # Of another version, it may lack what is shown.
        report.as_text()
    except (KeyError, TypeError, AttributeError, ValueError):
        return None
    return report


def _row(change: Mapping[str, Any]) -> str:
    tags = f" with tags {_labels(change['tags'])}" if change["tags"] else ""
    sample = f"{_word(change['type'])} {json.dumps(change['statsd_name'])}{tags}"
    kinds = ", ".join(map(_word, change["kinds"]))
    row = f"{kinds}: {sample}: {_fate(change['before'])} -> {_fate(change['after'])}"
    if change["kinds"][0] == "options":
        row += f" ({_options(change['before'])} -> {_options(change['after'])})"
    if change["note"]:
        row += f" ({_word(change['note'])})"
    return row


def _fate(fate: Mapping[str, Any] | None) -> str:
    if fate is None:
        return "dropped"
    shown = _series(fate)
    if fate["refused"]:
        shown += f" refused, {_word(fate['refused'])}"
    return shown if fate["rule"] else f"{shown} (unmapped)"


def _series(series: Mapping[str, Any]) -> str:
    return f"{_word(series['type'])} {_word(series['name'])}{_labels(series['labels'])}"


def _labels(labels: Mapping[str, str]) -> str:
    pairs = [f"{_word(name)}={json.dumps(value)}" for name, value in labels.items()]
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _options(fate: Mapping[str, Any]) -> str:
    return json.dumps(fate["options"])


def _word(text: str) -> str:
    """Return a word of the answer, in quotes if it is not plain."""
    is_plain = text.isascii() and text.isprintable()
    return text if is_plain else json.dumps(text)


def _summary(document: Mapping[str, Any]) -> str:
    number = int(document["names"])
    if not number:
        return "clean: the bridge has seen no names yet"
    names = f"{number} names that the bridge has seen"
    if document["clean"]:
        return f"clean: none of {names} changes"
    counts = ", ".join(
        f"{int(count)} {KINDS.get(kind, _word(kind))}"
        for kind, count in document["counts"].items()
    )
    return f"{int(document['changed'])} of {names} change: {counts}"
