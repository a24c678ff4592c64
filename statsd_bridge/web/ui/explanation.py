"""The section that explains a line, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from statsd_bridge.web.ui import numbers
from statsd_bridge.web.ui.links import link
from statsd_bridge.web.ui.markup import EMPTY, Html, code, fill, html, join, label_value

PATH: Final = "explain"

EXAMPLE: Final = "api.hits:1|c"

Sample = Mapping[str, Any]


def render(explained: Mapping[str, Any] | None, line: str, up: str) -> Html:
    """Return the section; `explained` is the document of /explain, if there is one."""
    return fill(
        '<section id="explain" aria-labelledby="explain-title" data-part="explain">'
        '<h2 id="explain-title">Explain a line</h2>'
        '<form action="{action}" data-swap="explain"><label class="grow">A statsd line'
        ' <input name="line" value="{line}" placeholder="{example}" required'
        ' autocomplete="off" autocapitalize="off" spellcheck="false"></label>'
        '<button>Explain</button></form><div class="result">{result}</div></section>',
        action=up + PATH,
        line=line,
        example=EXAMPLE,
        result=EMPTY if explained is None else _result(explained, line, up),
    )


def _result(explained: Mapping[str, Any], line: str, up: str) -> Html:
    samples = explained["samples"]
    omitted = explained["samples_left_out"]
    return fill(
        '<p>{line} {share}</p><ol class="faults">{faults}</ol>{samples}{omitted}',
        line=code(explained["line"]),
        share=link(up + PATH, "link to this explanation", line=line),
        faults=join(_faults(explained)),
        samples=join(_sample(each) for each in samples),
        omitted=fill("<p>And {n} more samples.</p>", n=omitted) if omitted else EMPTY,
    )


def _faults(explained: Mapping[str, Any]) -> Iterator[Html]:
    if explained["dogstatsd"]:
        yield fill(
            "<li>A DogStatsD {kind}: dropped, Prometheus cannot store it.</li>",
            kind=explained["dogstatsd"],
        )
    elif not (explained["samples"] or explained["faults"]):
        yield Html("<li>The line is empty.</li>")
    for fault in explained["faults"]:
        yield fill(
            '<li><span class="badge bad">{reason}</span> {text}</li>',
            reason=fault["reason"],
            text=code(fault["text"]),
        )
    if explained["tag_errors"]:
        text = "<li>Tags that cannot be read were left out: {count}.</li>"
        yield fill(text, count=explained["tag_errors"])


def _sample(sample: Sample) -> Html:
    steps = [
        fill("<li><b>{name}</b> <div>{text}</div></li>", name=name, text=text)
        for name, text in _steps(sample)
    ]
    return fill('<ol class="steps">{steps}</ol>', steps=join(steps))


def _steps(sample: Sample) -> Iterator[tuple[str, Html]]:
    yield "Sample", _described(sample)
    yield "Rule", _rule(sample["rule"])
    if sample["captures"]:
        found = [
            fill("<li>${number} = {text}</li>", number=number, text=code(each))
            for number, each in enumerate(sample["captures"], 1)
        ]
        yield "Captures", _list(found)
    if sample["near"]:
        near = [
            fill("<li>{rule}: {why}</li>", rule=_rule(each), why=each["why"])
            for each in sample["near"]
        ]
        yield "Near misses", _list(near)
    if sample["series"] is None:
        text = sample["why"] or "dropped by the rule"
        yield (
            "Result",
            fill('<span class="badge warn">no series</span> {text}', text=text),
        )
        return
    yield "Series", code(sample["series"])
    yield "Kept as", _kept(sample["kept_as"])
    if target := sample.get("target"):
        yield "Relay target", code(target)
    yield "Result", _outcome(sample)


def _described(sample: Sample) -> Html:
    weight = f", stands for {sample['weight']}" if sample["weight"] != 1 else ""
    tags = ", ".join(
        f"{name}={label_value(text)}" for name, text in sample["tags"].items()
    )
    return fill(
        "{type} {name} = {value}{weight}{tags}",
        type=sample["type"],
        name=code(sample["name"]),
        value=_sample_value(sample),
        weight=weight,
        tags=fill(", tags {tags}", tags=code(tags)) if tags else EMPTY,
    )


def _sample_value(sample: Sample) -> Html:
    value = sample["value"]
    if isinstance(value, str):
        return code(value)
    return html(f"{value:+g}" if sample["relative"] else numbers.number(value))


def _rule(rule: Mapping[str, Any]) -> Html:
    if not rule:
        return Html('<span class="badge warn">none</span> no rule matches the name')
    return fill(
        "{match} <small>rule {index}, line {line}</small>",
        match=code(rule["match"]),
        index=rule["index"],
        line=rule["line"],
    )


def _list(items: list[Html]) -> Html:
    return fill('<ul class="plain">{items}</ul>', items=join(items))


def _kept(kept: Mapping[str, Any]) -> Html:
    parts = [html(kept["shape"])]
    if "ttl_seconds" in kept:
        parts.append(html(f"ttl {numbers.duration(kept['ttl_seconds'])}"))
    if "scale" in kept:
        parts.append(html(f"scale {kept['scale']:g}"))
    for key in ("buckets", "quantiles"):
        if key in kept:
            values = ", ".join(f"{each:g}" for each in kept[key])
            parts.append(html(f"{key} {values}"))
    return join(parts, "; ")


def _outcome(sample: Sample) -> Html:
    if not sample["refused"]:
        return Html('<span class="badge good">recorded</span>')
    return fill(
        '<span class="badge bad">refused</span> {reason}: {why}',
        reason=sample["refused"],
        why=sample["why"],
    )
