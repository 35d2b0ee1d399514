"""Load scenarios and pipelines of the cells on the page, a row each, with links to their pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from evenbench.harness.core.pipeline_terms import (
    AFTER_DECODING,
    INFERENCE,
    OVERLAPPED,
    PACED,
    PREDECODED,
    PREDECODED_PACED,
    SEQUENTIAL,
)
from evenbench.harness.statistics.estimates import Estimate
from evenbench.reports import formatting, load_results, pipeline_results

Line = Mapping[str, Any]


@dataclass(frozen=True)
class RelatedRun:
    """A cell and a question, as texts.

    `answer` is the result or the reason for none; `page` is an address, or empty.
    """

    cell: str
    question: str
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
    newest: dict[str, tuple[str, RelatedRun]] = {}
    malformed = 0
    for kind, line, page in [
        *(("load", line, "") for line in loads),
        *(("pipeline", line, page) for line, page in pipelines),
    ]:
        try:
            key_of, row_of = KINDS[kind]
            address = page or pages.get(line["run"].get("id", ""), "")
            key, time, row = (
                json.dumps([kind, *key_of(line)], sort_keys=True),
                str(line["time"]),
                row_of(line, address),
            )
        except Exception:  # edited by hand, or written by another program: any error is possible
            malformed += 1
            continue
        if key not in newest or newest[key][0] <= time:
            newest[key] = (time, row)
    rows = sorted((row for _, row in newest.values()), key=lambda row: (row.cell, row.question))
    note = (
        f"{formatting.count(malformed, 'line')} of load or of a pipeline left out, malformed; "
        "see docs/how-to/load.md and docs/how-to/pipeline.md"
    )
    return Companions(tuple(rows), (note,) if malformed else ())


def _load_key(line: Line) -> list[Any]:
    return [line["cell"]["key"], line["scenario"]]


def _pipeline_key(line: Line) -> list[Any]:
    return [
        line["cell"]["key"],
        line["video"]["sha256"],
        line["in_flight"],
        line["target_per_second"],
    ]


def _row(line: Line, cell: str, question: str, answer: str, page: str) -> RelatedRun:
    phase = f"in {line['phase']}: " if line["phase"] else ""
    return RelatedRun(
        cell,
        question,
        str(line["outcome"]),
        answer if line["outcome"] == "ok" else f"{phase}{line['reason']}",
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
        _main_result(line) if line["outcome"] == "ok" else "",
        page,
    )


def _main_result(line: Line) -> str:
    """The main result of a scenario, as text."""
    name = line["scenario"]["name"]
    if name == "server":
        return load_results.answer(line["answer"])
    points = [
        {"batch": part["cell"]["batch"], **point}
        for part in line["parts"]
        for point in part["points"]
    ]
    texts = [
        dict(zip(load_results.HEADINGS[name], row[1:], strict=True))
        for row in load_results.rows(line)
    ]
    return ANSWERS[name](line, list(zip(points, texts, strict=True)))


Pairs = list[tuple[Mapping[str, Any], dict[str, str]]]
"""Points of a line, with their texts under the headings of the scenario."""


def _single(line: Line, pairs: Pairs) -> str:
    texts = pairs[0][1]
    stated = [
        f"{name} {texts[name]}" for name in ("p50", "p90", "p99") if texts[name] != formatting.DASH
    ]
    return ", ".join([*stated, f"{texts['per second']} per second"])


def _sweep(line: Line, pairs: Pairs) -> str:
    speeds = [
        texts["per second"] for point, texts in pairs if point["batch"] == line["answer"]["batch"]
    ]
    return "; ".join(
        [load_results.answer(line["answer"]), *(f"{speed} per second" for speed in speeds)]
    )


def _concurrent(line: Line, pairs: Pairs) -> str:
    texts = max(pairs, key=lambda pair: float(pair[0]["per_second"]["value"]))[1]
    scaling = (
        ""
        if texts["over the first"] == formatting.DASH
        else f", {texts['over the first']} of the first"
    )
    return f"at most {texts['per second']} per second, callers: {texts['callers']}{scaling}"


def _gaps(line: Line, pairs: Pairs) -> str:
    texts = max(pairs, key=lambda pair: float(pair[0]["gap_ms"]))[1]
    return f"after a pause of {texts['gap']} a call takes {texts['over no gap']} of a call without"


def _shapes(line: Line, pairs: Pairs) -> str:
    new = [pair for pair in pairs if pair[0]["first_seen"]]
    if not new:
        return "every size was loaded before its first call"
    texts = max(new, key=lambda pair: float(pair[0]["first_seen"]["value"]))[1]
    size = "" if texts["size"] == formatting.DASH else f" at size {texts['size']}"
    ratio = texts["first over later"]
    return f"the first call of batch {texts['batch']}{size} takes {ratio} of a later call"


ANSWERS: Mapping[str, Callable[[Line, Pairs], str]] = {
    "single-stream": _single,
    "batch-sweep": _sweep,
    "concurrent": _concurrent,
    "idle-gaps": _gaps,
    "shapes": _shapes,
}


# -- in a pipeline ---------------------------------------------------------------------------------

MODES = {
    OVERLAPPED: "with {} in flight",
    SEQUENTIAL: "one at a time",
    AFTER_DECODING: "after decoding, one at a time",
    PREDECODED: "after decoding, with {} in flight",
    INFERENCE: "of inference and fetching alone",
}
"""Descriptions of pipeline modes."""

LOST = {PACED: "dropped", PREDECODED_PACED: "dropped after decoding"}
"""Descriptions of dropped frames at a target rate, by mode."""


def _filmed(line: Line, page: str) -> RelatedRun:
    target = (
        f", {line['target_per_second']:g} per second wanted" if line["target_per_second"] else ""
    )
    question = f"pipeline over {line['video']['name']}{target}"
    estimates = {
        words.format(line["in_flight"]): pipeline_results.rate(line, mode)
        for mode, words in MODES.items()
    }
    rates = [f"{_rate(estimate)} {words}" for words, estimate in estimates.items() if estimate]
    lost = {words: pipeline_results.dropped(line, mode) for mode, words in LOST.items()}
    dropped = "".join(
        f"; {counts[0]} of {counts[1]} {words}" for words, counts in lost.items() if counts
    )
    return _row(
        line,
        str(line["cell"]["id"]),
        question,
        f"frames per second: {', '.join(rates)}{dropped}",
        page,
    )


def _rate(estimate: Estimate) -> str:
    return formatting.with_interval(formatting.rate(estimate), formatting.rate_interval(estimate))


KINDS: Mapping[str, tuple[Callable[[Line], list[Any]], Callable[[Line, str], RelatedRun]]] = {
    "load": (_load_key, _loaded),
    "pipeline": (_pipeline_key, _filmed),
}
"""Per kind of line: the identity for replacing older lines, and the function to make a row."""
