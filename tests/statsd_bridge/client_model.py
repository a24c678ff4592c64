"""
Prometheus' public protobuf schema, for the library that judges pages in protobuf.

The fields are those of `io/prometheus/client/metrics.proto`, by their public numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    timestamp_pb2,
)

from statsd_bridge.exposition.negotiation import Format

CONTENT_TYPE = Format.PROTOBUF.value

_PACKAGE = "io.prometheus.client"
_Field = descriptor_pb2.FieldDescriptorProto
_KINDS = {
    "text": _Field.TYPE_STRING,
    "double": _Field.TYPE_DOUBLE,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
    "sint32": _Field.TYPE_SINT32,
    "sint64": _Field.TYPE_SINT64,
    "int64": _Field.TYPE_INT64,
}

# Fields by number: a name and a kind of value or a message; `*` may be repeated.
_MESSAGES: dict[str, dict[int, str]] = {
    "LabelPair": {1: "name text", 2: "value text"},
    "Gauge": {1: "value double"},
    "Counter": {
        1: "value double",
        2: "exemplar Exemplar",
        3: "created_timestamp .google.protobuf.Timestamp",
    },
    "Quantile": {1: "quantile double", 2: "value double"},
    "Summary": {
        1: "sample_count uint64",
        2: "sample_sum double",
        3: "quantile Quantile*",
        4: "created_timestamp .google.protobuf.Timestamp",
    },
    "Untyped": {1: "value double"},
    "Histogram": {
        1: "sample_count uint64",
        2: "sample_sum double",
        3: "bucket Bucket*",
        4: "sample_count_float double",
        5: "schema sint32",
        6: "zero_threshold double",
        7: "zero_count uint64",
        8: "zero_count_float double",
        9: "negative_span BucketSpan*",
        10: "negative_delta sint64*",
        11: "negative_count double*",
        12: "positive_span BucketSpan*",
        13: "positive_delta sint64*",
        14: "positive_count double*",
        15: "created_timestamp .google.protobuf.Timestamp",
        16: "exemplars Exemplar*",
    },
    "Bucket": {
        1: "cumulative_count uint64",
        2: "upper_bound double",
        3: "exemplar Exemplar",
        4: "cumulative_count_float double",
    },
    "BucketSpan": {1: "offset sint32", 2: "length uint32"},
    "Exemplar": {
        1: "label LabelPair*",
        2: "value double",
        3: "timestamp .google.protobuf.Timestamp",
    },
    "Metric": {
        1: "label LabelPair*",
        2: "gauge Gauge",
        3: "counter Counter",
        4: "summary Summary",
        5: "untyped Untyped",
        6: "timestamp_ms int64",
        7: "histogram Histogram",
    },
    "MetricFamily": {
        1: "name text",
        2: "help text",
        3: "type MetricType",
        4: "metric Metric*",
        5: "unit text",
    },
}
_TYPES = ("COUNTER", "GAUGE", "SUMMARY", "UNTYPED", "HISTOGRAM", "GAUGE_HISTOGRAM")


def _build() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="metrics.proto",
        package=_PACKAGE,
        syntax="proto2",
        dependency=[timestamp_pb2.DESCRIPTOR.name],
    )
    enum = file.enum_type.add(name="MetricType")
    for number, word in enumerate(_TYPES):
        enum.value.add(name=word, number=number)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, text in fields.items():
            field_name, kind = text.removesuffix("*").split(" ")
            field = message.field.add(name=field_name, number=number)
            repeated = text.endswith("*")
            field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            if kind in _KINDS:
                field.type = _KINDS[kind]
            else:
                is_enum = kind == enum.name
                field.type = _Field.TYPE_ENUM if is_enum else _Field.TYPE_MESSAGE
                is_ours = not kind.startswith(".")
                field.type_name = f".{_PACKAGE}.{kind}" if is_ours else kind
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    found = pool.FindMessageTypeByName(f"{_PACKAGE}.MetricFamily")
    return message_factory.GetMessageClass(found)


MetricFamily = _build()


def decode(page: bytes) -> list[Any]:
    """Return the messages of a page; raise an exception if it is malformed."""
    return list(_decode(page))


def _decode(page: bytes) -> Iterator[Any]:
    at = 0
    while at < len(page):
        length = shift = 0
        while True:
            byte = page[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        assert at + length <= len(page)
        yield MetricFamily.FromString(page[at : at + length])
        at += length


def type_of(family: Any) -> str:
    """Return the type of a family, as a word of the text format."""
    return _TYPES[family.type].lower()


def labels_of(metric: Any) -> dict[str, str]:
    """Return the labels of a metric."""
    return {pair.name: pair.value for pair in metric.label}


def buckets(spans: Any, deltas: Any) -> dict[int, int]:
    """Return the counts of native buckets by index, without empty ones."""
    found: dict[int, int] = {}
    index = count = 0
    left = iter(deltas)
    for span in spans:
        index += span.offset
        for _ in range(span.length):
            count += next(left)
            if count:
                found[index] = count
            index += 1
    assert next(left, None) is None
    return found
