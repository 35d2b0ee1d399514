"""Curves on two logarithmic axes: latency against throughput."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evenbench.reports import formatting
from evenbench.reports.charts import axes
from evenbench.reports.charts.axes import SYMBOLS, Figure, Trace


@dataclass(frozen=True)
class LoadPoint:
    """A point of a load curve: coordinates, the label beside the point, the text on hover."""

    per_second: float
    latency_ns: float
    label: str
    hover: str


def throughput(curves: Sequence[tuple[str, Sequence[LoadPoint]]], up: str) -> Figure | None:
    """Return latency over samples per second, one labelled curve per cell. None without a curve.

    `up` is the title of the latency axis.
    """
    if not curves:
        return None
    traces: list[Trace] = [
        {
            "type": "scatter",
            "mode": "lines+markers+text",
            "name": axes.label(name),
            "x": [axes.rounded(point.per_second) for point in points],
            "y": [axes.rounded(point.latency_ns) for point in points],
            "text": [axes.label(point.label) for point in points],
            "textposition": "top center",
            "hovertext": [axes.label(point.hover) for point in points],
            "hoverinfo": "text",
            "line": {"width": 2},
            "marker": {"size": 9, "symbol": SYMBOLS[place % len(SYMBOLS)]},
            "cliponaxis": False,
        }
        for place, (name, points) in enumerate(curves)
    ]
    layout = axes.scatter_layout(traces, "samples per second, log scale", up, 420)
    heights = [value for trace in traces for value in trace["y"]]
    layout["yaxis"].update(axes.log_axis(heights, formatting.duration))
    return {"data": traces, "layout": layout}
