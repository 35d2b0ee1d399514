"""Needed tolerance of every compared output of one group, against the limit of 1."""

from __future__ import annotations

import math

from evenbench.reports import formatting
from evenbench.reports.charts import axes
from evenbench.reports.charts.axes import Figure, Trace
from evenbench.reports.charts.phases import name_with_outcome
from evenbench.reports.result_groups import Group, Result

_FLOOR, _CEILING = 1e-3, 1e9


def needed(group: Group) -> Figure | None:
    """Return the tolerance needed by every compared result; None if nothing was compared."""
    compared = [
        result
        for result in group.results
        if (result.record.get("parity") or {}).get("needed") is not None
    ]
    if not compared:
        return None
    compared.sort(key=_needed)
    names = [name_with_outcome(result) for result in compared]
    values = [min(max(_needed(result), _FLOOR), _CEILING) for result in compared]
    trace: Trace = {"type": "scatter", "mode": "markers", "x": values, "y": names}
    hover = [
        f"{name}: {formatting.number(_needed(result))} / 1"
        for name, result in zip(names, compared, strict=True)
    ]
    trace.update(hovertext=hover, hoverinfo="text", marker={"size": 11})
    layout = axes.layout(len(compared), "needed / allowed, log scale")
    layout["xaxis"].update(_decades(max(values)))
    layout["yaxis"].update(type="category")
    layout["shapes"] = [axes.line_at_one()]
    return {"data": [trace], "layout": layout}


def _needed(result: Result) -> float:
    return float(result.record["parity"]["needed"])


def _decades(largest: float) -> dict[str, object]:
    """A logarithmic axis with a tick per decade, from `_FLOOR` to beyond the largest value."""
    decades = [10.0**power for power in range(-3, max(1, math.ceil(math.log10(largest))) + 1)]
    return {
        "type": "log",
        "tickmode": "array",
        "tickvals": decades,
        "ticktext": [f"≤{_FLOOR:g}", *(f"{decade:g}" for decade in decades[1:])],
        "range": [math.log10(decades[0]) - 0.15, math.log10(decades[-1])],
    }
