"""Distribution of the compute laps of one group: five numbers per process, drawn by the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evenbench.harness.core.types import COMPUTE
from evenbench.harness.statistics import estimates
from evenbench.reports import formatting, result_groups
from evenbench.reports.charts import axes
from evenbench.reports.result_groups import Group, Result

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Ends of the line, ends of the box, and the mark within."""

TICKS = 6


def boxes(group: Group) -> dict[str, Any] | None:
    """Return a box per process of every correct runtime, as places in percent of a log axis.

    Results without a judged level take no part in the range of the axis, and boxes end at the
    axis. None without a lap.
    """
    numbers = {result.name: _numbers(result) for result in group.ranked}
    judged = [result.name for result in group.ranked if formatting.judged(result.compute)]
    inside = [
        value for name in judged or list(numbers) for process in numbers[name] for value in process
    ]
    if not inside or min(inside) <= 0:
        return None
    low, high = min(inside) * 0.95, max(inside) * 1.05
    per_ns, unit = formatting.duration_unit(high)

    def place(value: float) -> float:
        return round(100 * axes.log_share(value, low, high), 2)

    ticks = axes.ticks(low / per_ns, high / per_ns)
    step = -(-len(ticks) // TICKS)
    return {
        "unit": f"{unit} per inference, log scale",
        "ticks": [[place(tick * per_ns), f"{tick:,g}"] for tick in ticks[::step]],
        "rows": [
            {
                "name": name,
                "boxes": [
                    {"at": [place(value) for value in process], "title": _title(number, process)}
                    for number, process in enumerate(processes, 1)
                ],
            }
            for name, processes in numbers.items()
        ],
    }


def _numbers(result: Result) -> list[list[float]]:
    """The quantiles of the laps of each process in nanoseconds."""
    ordered = [sorted(laps) for laps in result_groups.laps_of(result.record, COMPUTE)]
    return [[estimates.quantile(laps, share) for share in QUANTILES] for laps in ordered]


def _title(number: int, process: Sequence[float]) -> str:
    low, _, middle, _, high = map(formatting.duration, process)
    return f"process {number}: median {middle}, 90 % of laps from {low} to {high}"
