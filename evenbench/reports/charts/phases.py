"""Bars of phases: cold starts and preparation of one group."""

from __future__ import annotations

from collections.abc import Sequence

from evenbench.reports.charts import axes
from evenbench.reports.charts.axes import Figure
from evenbench.reports.result_groups import Group, Result


def cold_starts(group: Group) -> Figure | None:
    """Return import, load, compile and first step of a fresh process, stacked, fastest first."""
    started = [result for result in group.results if result.cold_start_seconds is not None]
    started.sort(key=lambda result: result.cold_start_seconds or 0.0)
    phases = (
        ("import", "import"),
        ("load", "load"),
        ("compile", "compile"),
        ("first_step", "first step"),
    )
    return _bars(started, phases, "seconds")


def prepares(group: Group) -> Figure | None:
    """Return the time of export, conversion and compilation before the first load."""
    prepared = [result for result in group.results if result.seconds("prepare") is not None]
    prepared.sort(key=lambda result: result.seconds("prepare") or 0.0)
    return _bars(prepared, (("prepare", "prepare"),), "seconds")


def name_with_outcome(result: Result) -> str:
    """Return the escaped name of a result, with the outcome if the result is not ranked."""
    outcome = "control" if result.is_control else result.outcome
    return axes.label(result.name if result.ranks else f"{result.name} ({outcome})")


def _bars(
    members: Sequence[Result], phases: Sequence[tuple[str, str]], title: str
) -> Figure | None:
    if not members:
        return None
    names = [name_with_outcome(result) for result in members]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "x": [axes.rounded(result.seconds(phase) or 0.0) for result in members],
            "y": names,
            "hovertemplate": f"{name} %{{x:.3~s}}s<extra></extra>",
        }
        for phase, name in phases
    ]
    layout = {
        **axes.layout(len(names), title),
        "barmode": "stack",
        "bargap": 0.35,
        "showlegend": len(phases) > 1,
    }
    layout["yaxis"].update(type="category")
    layout["xaxis"].update(rangemode="tozero")
    return {"data": traces, "layout": layout}
