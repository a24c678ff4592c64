"""The examples of docs/mapping.md are true."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from statsd_bridge import mapping
from statsd_bridge.errors import ConfigError
from statsd_bridge.model import Action, Labels, MetricOptions, SampleType
from statsd_bridge.syntax import format_labels

_PAGE = Path(__file__).parents[2] / "docs" / "mapping.md"
_EXAMPLE = re.compile(r"```yaml\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
_COMMAND = re.compile(r"```sh\n(statsd-bridge .*)\n```\n\n```console\n((?s:.*?))```")
# shop.fr.open:1|g|#via:app   result
_LINE = re.compile(r"([^:]+):[^|]+\|(\w+)(?:\|#(\S+))?\s+(.*)")
_SAMPLE_TYPES = {
    "c": SampleType.COUNTER,
    "g": SampleType.GAUGE,
    "ms": SampleType.OBSERVER,
    "h": SampleType.OBSERVER,
}

EXAMPLES = _EXAMPLE.findall(_PAGE.read_text())


def _format_options(options: MetricOptions, words: str) -> str:
    """Return the options that an example shows."""
    buckets = " ".join(map(str, options.buckets))
    quantiles = " ".join(str(each.quantile) for each in options.quantiles)
    parts = {
        "histogram": f"{options.type} {buckets}",
        "summary": f"{options.type} {quantiles}",
        "ttl": f"ttl {options.ttl:g}",
        "scale": f"scale {options.scale or 0:g}",
        "help": f"help {options.help}",
    }
    return "".join(f" {part}" for word, part in parts.items() if f" {word} " in words)


def _outcome(
    table: mapping.MappingTable, sample_type: SampleType, name: str, tags: Labels
) -> str:
    match = table.look_up(sample_type, name)
    if match.action is Action.DROP:
        return f"dropped by mappings[{match.rule.index if match.rule else ''}]"
    spec = match.spec(tags)
    return spec.name + (f"{{{format_labels(spec.labels)}}}" if spec.labels else "")


def _result(table: mapping.MappingTable, line: str) -> tuple[str, str]:
    found = _LINE.fullmatch(line)
    assert found, line
    name, type_, tags, expected = found.groups()
    sample_type = _SAMPLE_TYPES[type_]
    pairs = [tag.split(":", 1) for tag in tags.split(",")] if tags else []
    actual = _outcome(
        table, sample_type, name, tuple((key, value) for key, value in pairs)
    )
    return actual + _format_options(
        table.look_up(sample_type, name).untagged.options, expected
    ), expected


@pytest.mark.parametrize(("text", "output"), EXAMPLES)
def test_an_example_has_the_output_beside_it(text: str, output: str) -> None:
    """Every line of an example has the result next to it."""
    if output.startswith("refused"):
        with pytest.raises(ConfigError) as caught:
            mapping.parse(text, "mapping.yml")

        assert f"refused  {caught.value}\n" == output
        return
    table = mapping.parse(text, "mapping.yml", strict=True)

    for line in output.splitlines():
        actual, expected = _result(table, line)
        assert actual == expected


def test_the_explain_command_prints_the_output_of_the_page(tmp_path: Path) -> None:
    """The command of the page prints the output of the page for its first file."""
    (command, output) = _COMMAND.findall(_PAGE.read_text())[0]
    (tmp_path / "mapping.yml").write_text(EXAMPLES[0][0])
    _, *arguments = shlex.split(command)
    done = subprocess.run(
        [sys.executable, "-m", "statsd_bridge", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == output


def test_every_block_is_an_example() -> None:
    """Every YAML block of the page is tested."""
    assert len(EXAMPLES) == _PAGE.read_text().count("```yaml")


def test_the_page_names_every_key() -> None:
    """The page names every key of a mapping file."""
    page = _PAGE.read_text()
    keys = """defaults mappings match match_type match_metric_type name labels
    honor_labels action observer_type summary_options histogram_options ttl scale help
    quantiles quantile error max_age age_buckets buf_cap buckets timer_type
    native_histogram_bucket_factor native_histogram_max_buckets glob_disable_ordering"""

    assert [key for key in keys.split() if f"`{key}`" not in page] == []
