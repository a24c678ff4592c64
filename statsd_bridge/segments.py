"""What a segment of a statsd name looks like: a word, an id, a number or a host."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from typing import Final

from statsd_bridge.syntax import escape_metric_name, is_reserved_label

MAX_WORD_LENGTH = 40
"""Characters of a segment; a longer one is an id, or a text that a person wrote."""


class Kind(Enum):
    """What a segment looks like."""

    WORD = "word"
    ID = "id"
    """One of very many: a UUID, a hash, a long number, an e-mail address."""
    CODE = "code"
    """An HTTP status."""
    NUMBER = "number"
    """A short number: of a shard, of a version."""
    HOST = "host"
    """A name or address of a machine."""
    TEXT = "text"
    """A text with characters that no glob can have, or an empty one."""


_LITERAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
_UUID = re.compile(r"[0-9a-f]{8}([-_]?)[0-9a-f]{4}(?:\1[0-9a-f]{4}){2}\1[0-9a-f]{12}")
_HEX = re.compile(r"(?=[a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{8,}")
_RANDOM = re.compile(r"(?=(?:.*[0-9]){3})(?=(?:.*[A-Za-z]){3})[A-Za-z0-9_-]{16,}")
# user-12345, order_98765, req12345678
_ENDS_IN_ID = re.compile(r"[A-Za-z_-]*[0-9]{5,}")
_CODE = re.compile(r"[1-5][0-9]{2}")
_NUMBER = re.compile(r"[0-9]{1,4}")
_ADDRESS = re.compile(r"(?:ip[-_])?[0-9]{1,3}([-_])[0-9]{1,3}(?:\1[0-9]{1,3}){2}")
# web01, db-master-12, node3, node-3-rack; but not p99, utf8, http2, sha256, s3, ipv6.
_HOST = re.compile(
    r"(?:[a-z]+[-_])*(?P<stem>[a-z]{2,})[-_]?(?P<digits>[0-9]{1,4})(?:[-_][a-z]+)*"
)
_HOSTS_TEXT = """
api app box cache db dc host instance ip kafka lb machine mysql node pg pod
postgres proxy rack redis server shard srv vm web worker zk
"""
_HOSTS = frozenset(_HOSTS_TEXT.split())
_NO_HOSTS_TEXT = """
avg base float ge gt http https int ipv lt max mean median md min mp oauth pct
percentile sha ssl tls top uint upper utf
"""
_NO_HOSTS = frozenset(_NO_HOSTS_TEXT.split())

_METRIC_WORDS_TEXT = """
bytes calls connections count counter cpu current depth disk dropped duration
elapsed errors events exceptions failed failure failures free gauge heap hits
idle in_flight inflight jobs lag latency length load lost max mean memory
messages min misses misses ms number open ops p50 p90 p95 p99 packets pending
percent queue rate ratio received requests responses retries rss runtime seconds
sent size success successes threads time timeouts timer total uptime usage used
value wait waiting
"""
_METRIC_WORDS = frozenset(_METRIC_WORDS_TEXT.split())

_NEXT_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_UNBOUNDED_TEXT = """
address customer email exception guid hash id ids message msg path query request
session span text timestamp token trace uri url user users uuid
"""
_UNBOUNDED = frozenset(_UNBOUNDED_TEXT.split())

BOUNDED_LABELS: Final = frozenset(
    ("code", "env", "host", "method", "region", "state", "status", "type", "zone")
)
"""Labels with few values, whatever the segment before them says."""

# user-7, order_12: not a host, however short the number is.
_NUMBERED = re.compile(r"(?P<stem>[a-z]+)[-_]?[0-9]+")
_NUMBERED_IDS = _UNBOUNDED | {"account", "client", "device", "order", "req", "tx"}

_METHODS: Final = frozenset(
    ["get", "head", "post", "put", "delete", "connect", "options", "trace", "patch"]
)


@lru_cache(maxsize=4096)
def kind_of(segment: str) -> Kind:
    """Return what a segment looks like."""
    lower = segment.lower()
    if _is_id(lower, segment):
        return Kind.ID
    if _CODE.fullmatch(segment):
        return Kind.CODE
    if _NUMBER.fullmatch(segment):
        return Kind.NUMBER
    if _is_host(lower):
        return Kind.HOST
    return Kind.WORD if _LITERAL.fullmatch(segment) else Kind.TEXT


def _is_id(lower: str, segment: str) -> bool:
    numbered = _NUMBERED.fullmatch(lower)
    return (
        len(segment) > MAX_WORD_LENGTH
        or (numbered is not None and numbered["stem"] in _NUMBERED_IDS)
        or "@" in segment
        or any(each.fullmatch(lower) for each in (_UUID, _HEX, _ENDS_IN_ID, _RANDOM))
    )


def _is_host(lower: str) -> bool:
    if _ADDRESS.fullmatch(lower):
        return True
    match = _HOST.fullmatch(lower)
    if match is None or match["stem"] in _NO_HOSTS:
        return False
    return len(match["digits"]) > 1 or match["stem"] in _HOSTS


def is_metric_word(segment: str) -> bool:
    """Return whether a segment says what is measured: it is no value of a label."""
    lower = segment.lower()
    last = re.split(r"[-_]", lower)[-1]
    return lower in _METRIC_WORDS or last in _METRIC_WORDS


@lru_cache(4_096)
def is_unbounded_word(name: str) -> bool:
    """Return whether the values of a label or key with a name are without bound."""
    # userId is two words.
    words = re.split(r"[^a-z]+", _NEXT_WORD.sub("_", name).lower())
    return not _UNBOUNDED.isdisjoint(words)


def label_name(pattern: Sequence[str], index: int, values: Sequence[str]) -> str:
    """Return a name for the label of a segment, by its values or the one before."""
    kinds = {kind_of(value) for value in values}
    if kinds == {Kind.CODE}:
        return "code"
    if kinds == {Kind.HOST}:
        return "host"
    if {value.lower() for value in values} <= _METHODS:
        return "method"
    before = pattern[index - 1] if index else "*"
    name = escape_metric_name(before).lower().strip("_") if before != "*" else ""
    if not name or name[0].isdigit() or name in ("le", "quantile"):
        return f"segment_{index + 1}"
    name = name.removesuffix("s") if len(name) > 3 and not name.endswith("ss") else name
    if name in ("job", "instance"):
        # Prometheus gives these to each target.
        return f"{name}_name"
    return f"segment_{index + 1}" if is_reserved_label(name) else name
