"""Distribution of the compute laps of one group: a box per process."""

from __future__ import annotations

from collections.abc import Sequence

from evenbench.harness.core.types import COMPUTE
from evenbench.reports import formatting, result_groups
from evenbench.reports.charts import axes
from evenbench.reports.charts.axes import Figure, Trace
from evenbench.reports.result_groups import Group

LAPS_DRAWN = 150_000
"""Limit on the laps of all distribution plots of a page together, to keep the page small."""


def figure(group: Group, per_process: int) -> Figure | None:
    """Return a box of compute laps per process of every correct runtime.

    At most `per_process` laps of each process are drawn. Results without a judged level
    take no part in the range of the axis.
    """
    if not group.ranked or not group.ranked[0].compute:
        return None
    per_ns, unit = formatting.duration_unit(group.ranked[0].compute.value)
    processes = max(len(result_groups.laps_of(result.record, COMPUTE)) for result in group.ranked)
    traces = [_trace(group, process, per_process, per_ns) for process in range(processes)]
    names = [axes.label(result.name) for result in group.ranked]
    layout = axes.layout(
        len(names), f"{unit} per inference, log scale", 14 * processes * len(names)
    )
    layout["xaxis"].update(axes.log_axis([value for trace in traces for value in trace["x"]]))
    judged = [result for result in group.ranked if formatting.judged(result.compute)]
    if 0 < len(judged) < len(group.ranked):
        kept = [
            lap / per_ns
            for result in judged
            for process in result_groups.laps_of(result.record, COMPUTE)
            for lap in process
            if lap > 0
        ]
        layout["xaxis"].update(axes.log_axis(kept), range=axes.log_range(kept))
    layout["yaxis"].update(
        tickmode="array", tickvals=list(range(len(names))), ticktext=names, type="linear"
    )
    layout.update(boxmode="group", boxgap=0.25, boxgroupgap=0.1, showlegend=processes > 1)
    return {"data": traces, "layout": layout}


def drawn_per_process(groups: Sequence[Group]) -> int:
    """Return how many laps of a process to draw, so that all plots stay within `LAPS_DRAWN`."""
    processes = sum(len(result.compute_ns) for group in groups for result in group.ranked)
    return max(8, LAPS_DRAWN // max(1, processes))


def _trace(group: Group, process: int, limit: int, per_ns: float) -> Trace:
    x: list[float] = []
    y: list[int] = []
    for row, result in enumerate(group.ranked):
        processes = result_groups.laps_of(result.record, COMPUTE)
        if process < len(processes):
            drawn = _thinned(processes[process], limit)
            x += [axes.rounded(lap / per_ns) for lap in drawn]
            y += [row] * len(drawn)
    points = {
        "boxpoints": "all",
        "jitter": 0.6,
        "pointpos": 0,
        "marker": {"size": 3.5, "opacity": 0.55},
    }
    return {
        "type": "box",
        "orientation": "h",
        "name": f"process {process + 1}",
        "x": x,
        "y": y,
        "hoverinfo": "x",
        **points,
    }


def _thinned(values: Sequence[int], limit: int) -> Sequence[int]:
    # Evenly through time and not at random: drift during the laps stays visible, and a report is
    # reproducible.
    return values[:: -(-len(values) // limit)] if len(values) > limit else values
