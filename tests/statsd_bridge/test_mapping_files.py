"""Bad mapping files, each named for its mistake, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from statsd_bridge import mapping
from statsd_bridge.errors import ConfigError

_FILES = Path(__file__).parent / "data" / "mapping"

BAD_FILES = {
    "bad-action": "mappings[0].action: 'delete' is not map or drop (line 4)",
    "bad-age-buckets-many": (
        "defaults.summary_options.age_buckets: must be 10000 at most (line 3)"
    ),
    "bad-age-buckets-negative": (
        "defaults.summary_options.age_buckets: '-1' is not a whole number "
        "from 0 to 4294967295 (line 3)"
    ),
    "bad-alias-inside-itself": "line 5, column 11: *rule stands inside itself",
    "bad-alias-unknown": "line 2, column 3: *common has no anchor before it",
    "bad-bucket-nan": "mappings[0].buckets: NaN is not a bound (line 5)",
    "bad-bucket-text": (
        "mappings[0].histogram_options.buckets[1]: 'ten' is not a number, "
        "such as 0.25 (line 6)"
    ),
    "bad-buckets-order": (
        "mappings[0].histogram_options.buckets: 0.5 comes after 1.0; bounds "
        "must rise, each once (line 6)"
    ),
    "bad-buckets-twice": (
        "defaults.histogram_options.buckets: 1.0 comes after 1.0; bounds "
        "must rise, each once (line 3)"
    ),
    "bad-buckets-two-places": (
        "mappings[0].buckets: is also in histogram_options; keep that one (line 5)"
    ),
    "bad-buf-cap-negative": (
        "defaults.summary_options.buf_cap: '-500' is not a whole number "
        "from 0 to 4294967295 (line 3)"
    ),
    "bad-control-character": (
        "is not text: unacceptable character #x0007: control characters are "
        'not allowed in "<byte string>", position 30'
    ),
    "bad-defaults-is-a-list": (
        "defaults: a list is not a mapping of keys to values (line 1)"
    ),
    "bad-encoding": (
        "is not text: unacceptable character #x00ff: invalid leading UTF-8 "
        'octet in "<byte string>", position 30'
    ),
    "bad-help-is-a-mapping": "mappings[0].help: a mapping is not text (line 4)",
    "bad-histogram-with-quantiles": (
        "mappings[0].summary_options: cannot be used with observer_type "
        "histogram; leave one of them out (line 6)"
    ),
    "bad-honor-labels-text": (
        "mappings[0].honor_labels: 'yes' is not true or false; take off the "
        "quotes (line 4)"
    ),
    "bad-indentation": (
        "line 3, column 8: mapping values are not allowed in this context"
    ),
    "bad-label-dash": (
        "mappings[0].labels: 'user-id' is no label name; write letters, "
        "digits and _, and no digit first (line 5)"
    ),
    "bad-label-le": (
        "mappings[0].labels: 'le' is no label name; Prometheus keeps it for "
        "itself; choose another name (line 5)"
    ),
    "bad-label-underscores": (
        "mappings[0].labels: '__address' is no label name; Prometheus keeps "
        "it for itself; choose another name (line 5)"
    ),
    "bad-label-value-is-a-list": "mappings[0].labels.b: a list is not text (line 5)",
    "bad-labels-is-a-list": (
        "mappings[0].labels: a list is not a mapping of keys to values (line 4)"
    ),
    "bad-mappings-is-a-number": "mappings: '5' is not a list (line 1)",
    "bad-match-empty-segment": (
        "mappings[0].match: 'a..b' is no glob; between dots, write a * or "
        "letters, digits, _ and - (line 2)"
    ),
    "bad-match-half-a-star": (
        "mappings[0].match: 'foo*' is no glob; between dots, write a * or "
        "letters, digits, _ and - (line 2)"
    ),
    "bad-match-is-a-regex": (
        "mappings[0].match: 'a\\\\.(b|c)' is no glob; between dots, write a * "
        "or letters, digits, _ and -; or set match_type: regex (line 2)"
    ),
    "bad-match-missing": (
        "mappings[0].match: '' is no glob; between dots, write a * or "
        "letters, digits, _ and - (line 2)"
    ),
    "bad-match-type": "defaults.match_type: 'fuzzy' is not glob or regex (line 2)",
    "bad-max-age-negative": (
        "defaults.summary_options.max_age: a duration must not be negative (line 3)"
    ),
    "bad-max-age-no-unit": (
        "mappings[0].summary_options: 600 nanoseconds are too short for 5 "
        "age buckets; write a unit, such as 10m (line 6)"
    ),
    "bad-merge-of-text": (
        "mappings[0]: 'common' is not a mapping of keys to values (line 2)"
    ),
    "bad-metric-type-empty": (
        "mappings[0].match_metric_type: '' is not counter or gauge or "
        "observer or timer (line 4)"
    ),
    "bad-metric-type": (
        "mappings[0].match_metric_type: 'set' is not counter or gauge or "
        "observer or timer (line 4)"
    ),
    "bad-name-dots": (
        "mappings[0].name: 'a.b' is no metric name; write letters, digits, "
        "_ and references such as ${1} (line 3)"
    ),
    "bad-name-missing": (
        "mappings[1].name: is missing; every rule needs one, also to drop (line 4)"
    ),
    "bad-native-buckets-text": (
        "defaults.histogram_options.native_histogram_max_buckets: 'many' is "
        "not a number, such as 0.25 (line 3)"
    ),
    "bad-observer-type": (
        "mappings[0].observer_type: 'timer' is not summary or histogram (line 4)"
    ),
    "bad-quantile-error": (
        "defaults.summary_options.quantiles[0].error: -0.01 is not between "
        "0 and 1 (line 4)"
    ),
    "bad-quantile-nan": (
        "defaults.quantiles[0].quantile: nan is not between 0 and 1 (line 3)"
    ),
    "bad-quantile-range": (
        "mappings[0].summary_options.quantiles[1].quantile: 99.0 is not "
        "between 0 and 1 (line 8)"
    ),
    "bad-quantiles-two-places": (
        "mappings[0].quantiles: is also in summary_options; keep that one (line 5)"
    ),
    "bad-regex-byte": (
        "mappings[0].match: 'a\\\\C' is no regular expression: invalid escape "
        "sequence: \\C (line 2)"
    ),
    "bad-regex-lookahead": (
        "mappings[0].match: 'a(?!b)' is no regular expression: invalid perl "
        "operator: (?! (line 2)"
    ),
    "bad-regex-name-twice": (
        "mappings[0].match: '(?P<n>a)(?P<n>b)' is no regular expression: "
        "duplicate group name: n (line 2)"
    ),
    "bad-rule-is-text": (
        "mappings[0]: 'a.b.c' is not a mapping of keys to values (line 2)"
    ),
    "bad-scale-text": (
        "mappings[0].scale: '0.001' is not a number, such as 0.25; take off "
        "the quotes (line 4)"
    ),
    "bad-summary-with-buckets": (
        "mappings[0].histogram_options: cannot be used with observer_type "
        "summary; leave one of them out (line 6)"
    ),
    "bad-syntax": (
        "line 4, column 1: while scanning a quoted scalar found unexpected "
        "end of stream"
    ),
    "bad-top-is-a-list": "a list is not a mapping of keys to values (line 1)",
    "bad-ttl-days": (
        "defaults.ttl: '7d' is not a duration, such as 90s or 1h30m (line 2)"
    ),
    "bad-ttl-negative": "mappings[0].ttl: a duration must not be negative (line 4)",
    "strict-unknown-keys": (
        "mappings[0].summary_options.ages: there is no such key (line 8)"
    ),
}


@pytest.mark.parametrize("name", sorted(path.stem for path in _FILES.glob("*.yml")))
def test_bad_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad file is refused in one line: the file, the key, what is wrong, the line."""
    monkeypatch.chdir(_FILES)

    with pytest.raises(ConfigError) as caught:
        mapping.load(f"{name}.yml", strict=name.startswith("strict-"))

    assert str(caught.value) == f"{name}.yml: {BAD_FILES[name]}"


def test_missing_file() -> None:
    """A file that is not there is refused, too."""
    with pytest.raises(ConfigError, match=r"^no\.yml: cannot be read: No such file"):
        mapping.load("no.yml")
