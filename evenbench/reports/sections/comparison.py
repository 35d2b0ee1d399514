"""Comparison of the runtimes of one group: ranking and laps, drawn on request by the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from evenbench.harness.core.types import COMPUTE
from evenbench.reports import cell_texts, formatting, verdict
from evenbench.reports.charts import laps
from evenbench.reports.result_groups import Group, Result


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


def compare(group: Group, first: int) -> dict[str, Any]:
    """Return the ranking of a group and the distribution of its laps, as JSON with texts."""
    members = (*group.ranked, *group.unranked)
    return {
        "title": _title(group),
        "words": f"{verdict.judge(group).words}.",
        "rows": [_row(group, result, place) for place, result in enumerate(members)],
        "first": first,
        "laps": laps.boxes(group),
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
            formatting.latency(result.compute, group.typical_ns),
            formatting.latency_interval(result.compute, group.typical_ns),
        ],
        "p90": formatting.duration(result.percentile(COMPUTE, 0.9)),
        "p99": formatting.duration(result.percentile(COMPUTE, 0.99)),
        "host": [
            formatting.latency(result.host_to_host, group.typical_ns),
            formatting.latency_interval(result.host_to_host, group.typical_ns),
        ],
        "speedup": verdict.speedup_texts(group, result),
        "tone": verdict.tone(group, result) if result.ranks else "none",
        "parity": cell_texts.parity_text(result),
        "words": cell_texts.reason(group, result),
    }
