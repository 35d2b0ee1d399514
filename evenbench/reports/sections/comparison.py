"""Comparison of the runtimes of one group: ranking and figures, drawn on request by the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from evenbench.harness.core.types import COMPUTE
from evenbench.reports import cell_texts, formatting, result_groups, verdict
from evenbench.reports.charts import laps, parity, phases, speedups
from evenbench.reports.charts.axes import Figure
from evenbench.reports.result_groups import BASELINE, Group, Result


def titles(groups: Sequence[Group]) -> list[str]:
    """Return a title per group for the selection; with the run if several runs are shown."""
    several = len({group.run for group in groups}) > 1
    return [_title(group) + (f" · run {group.run}" if several else "") for group in groups]


def first_indices(groups: Sequence[Group]) -> Iterator[tuple[int, Group]]:
    """Yield every group with the index of its first cell, in the order of `tables.in_order`."""
    index = 0
    for group in groups:
        yield index, group
        index += len(group.results)


def compare(group: Group, first: int, laps_drawn: int) -> dict[str, Any]:
    """Return the ranking of a group and its figures, as JSON with texts."""
    members = (*group.ranked, *group.unranked)
    return {
        "title": _title(group),
        "words": f"{verdict.judge(group).words}.",
        "rows": [_row(group, result, place) for place, result in enumerate(members)],
        "first": first,
        "figures": [figure for figure in _figures(group, laps_drawn) if figure["figure"]],
        "baseline": group.baseline is not None,
    }


def _title(group: Group) -> str:
    return f"{group.first.get('model', '')} · {verdict.setting(group)}"


def _row(group: Group, result: Result, place: int) -> dict[str, Any]:
    return {
        "rank": str(place + 1) if result.ranks else formatting.DASH,
        "name": result.name,
        "id": str(result.cell.get("id", "")),
        "outcome": result.outcome,
        "compute": [
            formatting.latency(result.compute),
            formatting.latency_interval(result.compute),
        ],
        "p90": formatting.duration(result.percentile(COMPUTE, 0.9)),
        "p99": formatting.duration(result.percentile(COMPUTE, 0.99)),
        "host": [
            formatting.latency(result.host_to_host),
            formatting.latency_interval(result.host_to_host),
        ],
        "speedup": verdict.speedup_texts(group, result),
        "tone": verdict.tone(group, result) if result.ranks else "none",
        "parity": cell_texts.parity_text(result),
        "words": cell_texts.reason(group, result),
    }


def _figures(group: Group, laps_drawn: int) -> Iterator[dict[str, Any]]:
    best = verdict.fastest_names(group) or "nothing"
    yield _figure(
        "Distribution of compute laps",
        laps.figure(group, laps_drawn),
        _laps_words(group, laps_drawn),
        whole=True,
    )
    yield _figure(
        f"Speed-up over {BASELINE}",
        speedups.of_group(group),
        "Dots with 95 % intervals over sweeps. The words in the ranking are stricter: corrected "
        f"for the number of comparisons in the run. Fastest: {best}.",
    )
    yield _figure(
        "Cold start",
        phases.cold_starts(group),
        "Import, load, compile and first step of a fresh process.",
    )
    yield _figure(
        "Prepare",
        phases.prepares(group),
        "Export, conversion and compilation, once, before the load.",
    )
    yield _figure(
        "Parity",
        parity.needed(group),
        "Tolerance needed over allowed. An output is correct up to 1.",
    )


def _figure(
    title: str, figure: Figure | None, words: str, *, whole: bool = False
) -> dict[str, Any]:
    return {"title": title, "figure": figure, "words": words, "whole": whole}


def _laps_words(group: Group, laps_drawn: int) -> str:
    counts = [
        len(process)
        for result in group.ranked
        for process in result_groups.laps_of(result.record, COMPUTE)
    ]
    drawn = (
        f"evenly spaced laps, at most {laps_drawn} per process"
        if max(counts, default=0) > laps_drawn
        else "every lap"
    )
    return (
        f"One box per process, with {drawn}. If boxes differ by more than their width, processes "
        "matter more than laps."
    )
