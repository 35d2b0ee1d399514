"""Roofline: FLOPs per second over FLOPs per byte, under the measured limits of the machine."""

from __future__ import annotations

from collections.abc import Sequence

from evenbench.reports.charts import axes
from evenbench.reports.charts.axes import SYMBOLS, Figure, Trace

Roof = tuple[str, float, float]
"""A limit of the machine: name, FLOPs per second, bytes per second."""

Point = tuple[str, float, float, str]
"""A cell: name of the series, FLOPs per byte, FLOPs per second, text shown on hover."""


def figure(roofs: Sequence[Roof], points: Sequence[Point]) -> Figure | None:
    """Return roofs as lines and cells as points, both axes logarithmic; None without a point."""
    if not points:
        return None
    across = [point[1] for point in points] + [flops / bandwidth for _, flops, bandwidth in roofs]
    ends = min(across) / 2, max(across) * 2
    traces = [_roof_trace(roof, ends) for roof in roofs]
    names = list(dict.fromkeys(point[0] for point in points))
    traces += [
        _points_trace(name, [point for point in points if point[0] == name], place)
        for place, name in enumerate(names)
    ]
    layout = axes.scatter_layout(traces, "FLOP per byte, log scale", "GFLOP/s, log scale", 460)
    layout["xaxis"].update(axes.log_axis(ends))
    return {"data": traces, "layout": layout}


def _roof_trace(roof: Roof, ends: tuple[float, float]) -> Trace:
    name, flops, bandwidth = roof
    corners = (ends[0], flops / bandwidth, ends[1])
    return {
        "type": "scatter",
        "mode": "lines",
        "name": axes.label(name),
        "x": [axes.rounded(place) for place in corners],
        "y": [axes.rounded(min(flops, bandwidth * place) / 1e9) for place in corners],
        "hovertemplate": f"{axes.label(name)}: %{{y:.3~g}} GFLOP/s<extra></extra>",
    }


def _points_trace(name: str, points: Sequence[Point], place: int) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": axes.label(name),
        "x": [axes.rounded(point[1]) for point in points],
        "y": [axes.rounded(point[2] / 1e9) for point in points],
        "hovertext": [axes.label(point[3]) for point in points],
        "hoverinfo": "text",
        "marker": {"size": 9, "symbol": SYMBOLS[place % len(SYMBOLS)]},
    }
