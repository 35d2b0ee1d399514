"""Comparison of the runtimes of one group: ranking and laps, drawn on request by the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from evenbench.harness.core.types import COMPUTE
from evenbench.reports import cell_texts, formatting, verdict
from evenbench.reports.charts import laps
from evenbench.reports.result_groups import Group, Result, ratio
from evenbench.reports.sections.tables import typical_ns


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


BASELINES_LISTED = 12
"""A group with more ranked results than this has no choice of baseline: each has a column."""


def compare(group: Group, first: int, other_baselines: bool = True) -> dict[str, Any]:
    """Return the ranking of a group and the distribution of its laps, as JSON with texts.

    With `other_baselines`, the speed-ups over every other ranked result as well.
    """
    members = (*group.ranked, *group.unranked)
    return {
        "title": _title(group),
        "words": f"{verdict.judge(group).words}.",
        "rows": [_row(group, result, place) for place, result in enumerate(members)],
        "first": first,
        "baseline": group.baseline.name if group.baseline else "",
        "laps": laps.boxes(group),
        "over": _over(group) if other_baselines else {},
    }


def _over(group: Group) -> dict[str, list[Any]]:
    """Baseline → the speed-up of each ranked result over it: value, interval and tone."""
    if not 1 < len(group.ranked) <= BASELINES_LISTED:
        return {}
    return {
        base.name: [
            ["1×", "", verdict.BASE] if result is base else _speedup(group, base, result)
            for result in group.ranked
        ]
        for base in group.ranked
    }


def _speedup(group: Group, base: Result, result: Result) -> list[Any]:
    estimate = ratio(base, result)
    tone = verdict.tone_of(group.comparison(base, result), estimate)
    return [formatting.ratio(estimate), formatting.ratio_interval(estimate), tone]


def _title(group: Group) -> str:
    return f"{group.first.get('model', '')} · {verdict.setting(group)}"


def _row(group: Group, result: Result, place: int) -> dict[str, Any]:
    return {
        "rank": str(place + 1) if result.ranks else formatting.DASH,
        "name": result.name,
        "id": str(result.cell.get("id", "")),
        "outcome": result.outcome,
        "compute": [
            formatting.latency(result.compute, typical_ns(group)),
            formatting.latency_interval(result.compute, typical_ns(group)),
        ],
        "p90": formatting.duration(result.percentile(COMPUTE, 0.9)),
        "p99": formatting.duration(result.percentile(COMPUTE, 0.99)),
        "host": [
            formatting.latency(result.host_to_host, typical_ns(group)),
            formatting.latency_interval(result.host_to_host, typical_ns(group)),
        ],
        "speedup": verdict.speedup_texts(group, result),
        "tone": verdict.tone(group, result) if result.ranks else "none",
        "parity": cell_texts.parity_text(result),
        "words": cell_texts.reason(group, result),
    }
