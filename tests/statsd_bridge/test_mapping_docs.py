"""The examples of docs/mapping.md do what the page says."""

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

_PAGE = Path(__file__).parents[2] / "docs" / "mapping.md"
_EXAMPLE = re.compile(r"```yaml\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
_COMMAND = re.compile(r"```sh\n(statsd-bridge .*)\n```\n\n```console\n((?s:.*?))```")
# shop.fr.open:1|g|#via:app   what it becomes
_LINE = re.compile(r"([^:]+):[^|]+\|(\w+)(?:\|#(\S+))?\s+(.*)")
_KINDS = {
    "c": SampleType.COUNTER,
    "g": SampleType.GAUGE,
    "ms": SampleType.OBSERVER,
    "h": SampleType.OBSERVER,
}

EXAMPLES = _EXAMPLE.findall(_PAGE.read_text())


def _shown(form: MetricOptions, words: str) -> str:
    """Show of a form what an example shows."""
    buckets = " ".join(map(str, form.buckets))
    quantiles = " ".join(str(each.quantile) for each in form.quantiles)
    parts = {
        "histogram": f"{form.type} {buckets}",
        "summary": f"{form.type} {quantiles}",
        "ttl": f"ttl {form.ttl:g}",
        "scale": f"scale {form.scale or 0:g}",
        "help": f"help {form.help}",
    }
    return "".join(f" {part}" for word, part in parts.items() if f" {word} " in words)


def _outcome(
    table: mapping.MappingTable, kind: SampleType, name: str, tags: Labels
) -> str:
    match = table.look_up(kind, name)
    if match.action is Action.DROP:
        return f"dropped by mappings[{match.rule.index if match.rule else ''}]"
    target = match.spec(tags)
    labels = ",".join(f'{key}="{value}"' for key, value in target.labels)
    return target.name + (f"{{{labels}}}" if labels else "")


def _become(table: mapping.MappingTable, line: str) -> tuple[str, str]:
    found = _LINE.fullmatch(line)
    assert found, line
    name, type_, tags, expected = found.groups()
    kind = _KINDS[type_]
    pairs = [tag.split(":", 1) for tag in tags.split(",")] if tags else []
    actual = _outcome(table, kind, name, tuple((key, value) for key, value in pairs))
    return actual + _shown(table.look_up(kind, name).options, expected), expected


@pytest.mark.parametrize(("text", "said"), EXAMPLES)
def test_example(text: str, said: str) -> None:
    """Every line of an example becomes what stands next to it."""
    if said.startswith("refused"):
        with pytest.raises(ConfigError) as caught:
            mapping.parse(text, "mapping.yml")

        assert f"refused  {caught.value}\n" == said
        return
    table = mapping.parse(text, "mapping.yml", strict=True)

    for line in said.splitlines():
        actual, expected = _become(table, line)
        assert actual == expected


def test_the_explanation_is_what_the_command_says(tmp_path: Path) -> None:
    """The command on the page, with the first file of it, prints what stands below."""
    (command, said) = _COMMAND.findall(_PAGE.read_text())[0]
    (tmp_path / "mapping.yml").write_text(EXAMPLES[0][0])
    _, *arguments = shlex.split(command)
    done = subprocess.run(
        [sys.executable, "-m", "statsd_bridge", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == said


def test_every_block_is_an_example() -> None:
    """No YAML on the page goes untested."""
    assert len(EXAMPLES) == _PAGE.read_text().count("```yaml")


def test_every_key_is_there() -> None:
    """The page names every key that a file may have."""
    page = _PAGE.read_text()
    keys = """defaults mappings match match_type match_metric_type name labels
    honor_labels action observer_type summary_options histogram_options ttl scale help
    quantiles quantile error max_age age_buckets buf_cap buckets timer_type
    native_histogram_bucket_factor native_histogram_max_buckets glob_disable_ordering"""

    assert [key for key in keys.split() if f"`{key}`" not in page] == []
