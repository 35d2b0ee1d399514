"""Load scenarios and pipelines of the cells on the page, a row each, with links to their pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.core.pipeline_terms import (
    AFTER,
    HELD,
    HELD_PACED,
    INFERENCE,
    OVERLAPPED,
    PACED,
    SEQUENTIAL,
)
from harness.statistics.estimates import Estimate
from reports import formatting, load_results, pipeline_results

Line = Mapping[str, Any]


@dataclass(frozen=True)
class RelatedRun:
    """A cell and a question, as texts.

    `answer` is the result or the reason for none; `page` is an address, or empty.
    """

    cell: str
    asked: str
    outcome: str
    answer: str
    page: str


@dataclass(frozen=True)
class Companions:
    """Rows by cell, and notes on skipped lines."""

    rows: tuple[RelatedRun, ...] = ()
    notes: tuple[str, ...] = ()


def gather(
    loads: Iterable[Line], pages: Mapping[str, str], pipelines: Iterable[tuple[Line, str]]
) -> Companions:
    """Return a row for the newest line per cell and question.

    Malformed lines are left out and counted. `pages` maps runs of load to addresses of pages; each
    pipeline line comes with the address of its page, or an empty string.
    """
    found: dict[str, tuple[str, RelatedRun]] = {}
    broken = 0
    for kind, line, page in [
        *(("load", line, "") for line in loads),
        *(("pipeline", line, page) for line, page in pipelines),
    ]:
        try:
            key_of, row_of = KINDS[kind]
            there = page or pages.get(line["run"].get("id", ""), "")
            key, time, row = (
                json.dumps([kind, *key_of(line)], sort_keys=True),
                str(line["time"]),
                row_of(line, there),
            )
        except (
            Exception
        ):  # edited by hand, or written by another program: it breaks in a thousand ways
            broken += 1
            continue
        if key not in found or found[key][0] <= time:
            found[key] = (time, row)
    rows = sorted((row for _, row in found.values()), key=lambda row: (row.cell, row.asked))
    lost = f"{formatting.count(broken, 'line')} of load or of a pipeline left out, not as docs/load.md and docs/pipeline.md have it"
    return Companions(tuple(rows), (lost,) if broken else ())


def _load_key(line: Line) -> list[Any]:
    return [line["cell"]["key"], line["scenario"]]


def _pipeline_key(line: Line) -> list[Any]:
    return [
        line["cell"]["key"],
        line["video"]["sha256"],
        line["in_flight"],
        line["target_per_second"],
    ]


def _row(line: Line, cell: str, asked: str, answer: str, page: str) -> RelatedRun:
    where = f"in {line['phase']}: " if line["phase"] else ""
    return RelatedRun(
        cell,
        asked,
        str(line["outcome"]),
        answer if line["outcome"] == "ok" else f"{where}{line['reason']}",
        page,
    )


# -- under load ------------------------------------------------------------------------------------


def _loaded(line: Line, page: str) -> RelatedRun:
    scenario = line["scenario"]
    bound = (
        f", p99 within {formatting.duration(scenario['bound_ns'])}"
        if scenario.get("bound_ns")
        else ""
    )
    return _row(
        line,
        load_results.name_of(line),
        f"{scenario['name']}{bound}",
        _answered(line) if line["outcome"] == "ok" else "",
        page,
    )


def _answered(line: Line) -> str:
    """The main result of a scenario, as text."""
    name = line["scenario"]["name"]
    if name == "server":
        return load_results.answer(line["answer"])
    points = [
        {"batch": part["cell"]["batch"], **point}
        for part in line["parts"]
        for point in part["points"]
    ]
    told = [
        dict(zip(load_results.HEADINGS[name], row[1:], strict=True))
        for row in load_results.rows(line)
    ]
    return ANSWERS[name](line, list(zip(points, told, strict=True)))


Pairs = list[tuple[Mapping[str, Any], dict[str, str]]]
"""Points of a line, with their texts under the headings of the scenario."""


def _single(line: Line, pairs: Pairs) -> str:
    told = pairs[0][1]
    stated = [
        f"{name} {told[name]}" for name in ("p50", "p90", "p99") if told[name] != formatting.DASH
    ]
    return ", ".join([*stated, f"{told['per second']} per second"])


def _sweep(line: Line, pairs: Pairs) -> str:
    speeds = [
        told["per second"] for point, told in pairs if point["batch"] == line["answer"]["batch"]
    ]
    return "; ".join(
        [load_results.answer(line["answer"]), *(f"{speed} per second" for speed in speeds)]
    )


def _concurrent(line: Line, pairs: Pairs) -> str:
    told = max(pairs, key=lambda pair: float(pair[0]["per_second"]["value"]))[1]
    over = (
        ""
        if told["over the first"] == formatting.DASH
        else f", {told['over the first']} of the first"
    )
    return f"at most {told['per second']} per second, callers: {told['callers']}{over}"


def _gaps(line: Line, pairs: Pairs) -> str:
    told = max(pairs, key=lambda pair: float(pair[0]["gap_ms"]))[1]
    return f"after a pause of {told['gap']} a call takes {told['over no gap']} of one without"


def _shapes(line: Line, pairs: Pairs) -> str:
    new = [pair for pair in pairs if pair[0]["first_seen"]]
    if not new:
        return "every size was loaded before its first call"
    told = max(new, key=lambda pair: float(pair[0]["first_seen"]["value"]))[1]
    size = "" if told["size"] == formatting.DASH else f" at size {told['size']}"
    return f"the first call of batch {told['batch']}{size} takes {told['first over later']} of a later one"


ANSWERS: Mapping[str, Callable[[Line, Pairs], str]] = {
    "single-stream": _single,
    "batch-sweep": _sweep,
    "concurrent": _concurrent,
    "idle-gaps": _gaps,
    "shapes": _shapes,
}


# -- in a pipeline ---------------------------------------------------------------------------------

WAYS = {
    OVERLAPPED: "with {} in flight",
    SEQUENTIAL: "one at a time",
    AFTER: "after decoding, one at a time",
    HELD: "after decoding, with {} in flight",
    INFERENCE: "of inference and fetching alone",
}
"""Descriptions of pipeline modes."""

LOST = {PACED: "dropped", HELD_PACED: "dropped after decoding"}
"""Descriptions of dropped frames at a target rate, by mode."""


def _filmed(line: Line, page: str) -> RelatedRun:
    target = (
        f", {line['target_per_second']:g} per second wanted" if line["target_per_second"] else ""
    )
    asked = f"pipeline over {line['video']['name']}{target}"
    found = {
        words.format(line["in_flight"]): pipeline_results.rate(line, way)
        for way, words in WAYS.items()
    }
    rates = [f"{_rate(estimate)} {words}" for words, estimate in found.items() if estimate]
    lost = {words: pipeline_results.dropped(line, way) for way, words in LOST.items()}
    dropped = "".join(
        f"; {found[0]} of {found[1]} {words}" for words, found in lost.items() if found
    )
    return _row(
        line,
        str(line["cell"]["id"]),
        asked,
        f"frames per second: {', '.join(rates)}{dropped}",
        page,
    )


def _rate(found: Estimate) -> str:
    interval = (
        ""
        if found.low is None or found.high is None
        else f"{formatting.number(found.low)} to {formatting.number(found.high)}"
    )
    return formatting.with_interval(formatting.number(found.value), interval)


KINDS: Mapping[str, tuple[Callable[[Line], list[Any]], Callable[[Line, str], RelatedRun]]] = {
    "load": (_load_key, _loaded),
    "pipeline": (_pipeline_key, _filmed),
}
"""Per kind of line: the identity for replacing older lines, and the function to make a row."""
