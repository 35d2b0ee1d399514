"""Charts of a history: every metric of a cell over its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from evenbench.reports import formatting, history_results
from evenbench.reports.charts.axes import Figure, Trace
from evenbench.reports.history_results import METRICS, percent, short, text

SCALES = {"latency": 1e6, "error": 1.0, "memory": 1e6, "artifact": 1e6}
UNITS = {"latency": "ms", "error": "of what is allowed", "memory": "MB", "artifact": "MB"}

TICKS = 6
"""Number of commits named under a chart; more names collide on a phone."""


def drawing(cell: Mapping[str, Any], marks: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return everything the page draws for a selected cell: environments, and a figure per metric.

    `marks` are the steps of the cell, from `evenbench history --json`.
    """
    environments = [
        {
            "name": f"environment {number + 1}",
            "first": _point_text(cell, environment["first"]),
            "changes": [*environment["changes"], *map(_bridge, environment["bridges"])],
        }
        for number, environment in enumerate(cell["environments"])
    ]
    figures = [
        {
            "title": METRICS[metric],
            "figure": figure(
                cell, metric, [change for change in marks if change["metric"] == metric]
            ),
        }
        for metric in METRICS
        if metric in cell["metrics"]
    ]
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in cell["outcomes"].items())
    return {
        "name": cell["name"],
        "outcomes": outcomes,
        "environments": environments,
        "figures": figures,
    }


def _bridge(bridge: Mapping[str, Any]) -> str:
    """`in pairs, onnxruntime 1.24.1 → 1.31.1: latency -3.1 % (-3.9 to -2.2 %), faster`."""
    shown = history_results.pair(bridge)
    change = f"{shown['metric'].lower()} {shown['change']} ({shown['interval']})"
    return f"in pairs, {formatting.listing(bridge['moves'])}: {change}, {bridge['verdict']}"


def _point_text(cell: Mapping[str, Any], place: int) -> str:
    time, commit, _, _ = cell["points"][place]
    return f"{short(commit)}, {time[:10]}"


def figure(cell: Mapping[str, Any], metric: str, marks: Sequence[Mapping[str, Any]] = ()) -> Figure:
    """Return a metric over the results of a cell.

    Each environment has a trace with intervals, its detected levels, and a line at its beginning.
    Arrows show steps not accepted yet.
    """
    spans = cell["spans"]
    points = cell["metrics"][metric]["points"]
    scale = SCALES[metric]
    traces = [
        _trace(
            cell, metric, number, [point for point in points if spans[point[0]] == number], scale
        )
        for number in range(len(cell["environments"]))
    ]
    levels = [_level(level, spans, scale) for level in cell["metrics"][metric]["levels"]]
    shapes = [_beginning(environment["first"]) for environment in cell["environments"][1:]]
    steps = [
        _step(
            environment["first"],
            f"{formatting.listing(bridge['moves'])}: {percent(bridge['ratio'])}",
        )
        for environment in cell["environments"]
        for bridge in environment["bridges"]
        if bridge["metric"] == metric
    ]
    places = _spread(len(cell["points"]))
    axis = {
        "tickmode": "array",
        "tickvals": places,
        "ticktext": [_tick(cell, place) for place in places],
        "tickangle": 0,
    }
    axis["range"] = [-0.5, len(cell["points"]) - 0.5]
    unit = {"title": {"text": UNITS[metric]}, "automargin": True}
    layout = {"height": 276, "xaxis": axis, "yaxis": unit, "hovermode": "closest", "shapes": shapes}
    layout["annotations"] = [*map(_mark, marks), *steps]
    return {"data": [trace for trace in (*traces, *levels) if trace["x"]], "layout": layout}


def _trace(
    cell: Mapping[str, Any], metric: str, number: int, points: Sequence[Sequence[Any]], scale: float
) -> dict[str, Any]:
    trace: Trace = {
        "type": "scatter",
        "mode": "markers",
        "environment": number,
        "x": [point[0] for point in points],
        "y": [_rounded(point[1] / scale) for point in points],
        "hovertext": [_hover(cell, metric, point) for point in points],
        "hoverinfo": "text",
        "marker": {"size": 4 if len(points) > 200 else 7},
    }
    if any(point[2] is not None for point in points):
        above = [_rounded(((point[3] or point[1]) - point[1]) / scale) for point in points]
        below = [_rounded((point[1] - (point[2] or point[1])) / scale) for point in points]
        trace["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": above,
            "arrayminus": below,
            "thickness": 1,
            "width": 0,
        }
    return trace


def _level(level: Mapping[str, Any], spans: Sequence[int], scale: float) -> dict[str, Any]:
    ends = [level["start"] - 0.4, level["stop"] + 0.4]
    height = _rounded(level["value"] / scale)
    line = {
        "type": "scatter",
        "mode": "lines",
        "environment": spans[level["start"]],
        "x": ends,
        "y": [height, height],
    }
    return {**line, "line": {"width": 3}, "hoverinfo": "skip"}


def _beginning(place: int) -> dict[str, Any]:
    return {
        "type": "line",
        "x0": place - 0.5,
        "x1": place - 0.5,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "layer": "below",
    }


def _mark(change: Mapping[str, Any]) -> dict[str, Any]:
    words = f"{change['kind']} {percent(change['ratio'])}"
    arrow = {"ax": -46, "ay": 0, "arrowhead": 2}
    return {
        "x": change["place"] - 0.5,
        "y": 1,
        "yref": "paper",
        "yanchor": "top",
        "text": escape(words),
        **arrow,
    }


def _step(place: int, words: str) -> dict[str, Any]:
    """The measured effect of an upgrade, at the beginning of its environment."""
    return {
        "x": place - 0.5,
        "y": 0,
        "yref": "paper",
        "yanchor": "bottom",
        "xanchor": "left",
        "text": escape(words),
        "showarrow": False,
    }


def _hover(cell: Mapping[str, Any], metric: str, point: Sequence[Any]) -> str:
    place, value, low, high = point
    time, commit, _, outcome = cell["points"][place]
    interval = "" if low is None else f" ({text(metric, low)} to {text(metric, high)})"
    suffix = "" if outcome == "ok" else f", {outcome}"
    return escape(
        f"{text(metric, value)}{interval} · {short(commit)} · {time}{suffix}", quote=False
    )


def _tick(cell: Mapping[str, Any], place: int) -> str:
    time, commit, _, _ = cell["points"][place]
    return "<br>".join(escape(part) for part in (commit[:7], time[2:10]) if part)


def _spread(count: int) -> list[int]:
    return (
        sorted({round(step * (count - 1) / (TICKS - 1)) for step in range(TICKS)})
        if count > TICKS
        else list(range(count))
    )


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
