"""Plotly figures as plain JSON, without colours: the page's theme brings those, so that charts
follow light and dark.

The figures are plain dicts and not `plotly.graph_objects`, which checks every value and would take
minutes for 10,000 cells; a test checks them with plotly instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from harness.core.types import COMPUTE
from harness.statistics.estimates import Estimate
from reports import formatting, results
from reports.results import Group, Result

Figure = dict[str, Any]

OVERVIEW_GROUPS = 16
"""How many groups the overview draws; more cannot be told apart."""

LAPS_DRAWN = 150_000
"""How many laps all distribution plots of a page may draw together, so that the page stays small.
"""

_ROW_PIXELS = 34
_ROW_KEYS = {"model": "", "precision": "", "device": "", "batch": "b", "threads": "t"}
_NEEDED_FLOOR = 1e-3
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")


def overview(groups: Sequence[Group]) -> Figure | None:
    """The speed-up of every correct runtime over the baseline, one row per group; None where
    nothing has one.
    """
    shown = [group for group in groups if group.baseline and len(group.ranked) > 1][
        :OVERVIEW_GROUPS
    ]
    names = sorted(
        {result.name for group in shown for result in group.ranked if result is not group.baseline}
    )
    rows = _row_titles(shown)
    lanes = [(place + 1) / (len(names) + 1) - 0.5 for place in range(len(names))]
    traces = [
        _overview_trace(name, shown, rows, place, lane)
        for place, (name, lane) in enumerate(zip(names, lanes, strict=True))
    ]
    layout = {**_ratio_layout(traces, len(rows)), "showlegend": True}
    layout["height"] = 84 + len(rows) * max(_ROW_PIXELS, 14 * len(names))
    ends = [
        len(rows) - 0.5,
        -0.5,
    ]  # the first row on top; a row is one unit high, and its runtimes lie in lanes of it
    layout["yaxis"].update(
        type="linear",
        autorange=False,
        range=ends,
        tickmode="array",
        tickvals=list(range(len(rows))),
        ticktext=rows,
    )
    return {"data": traces, "layout": layout} if traces else None


def speedups(group: Group) -> Figure | None:
    """The speed-up of every correct runtime of one group, with its interval."""
    pairs = [
        (_label(result.name), group.speedup(result))
        for result in group.ranked
        if result is not group.baseline
    ]
    known = [(name, estimate) for name, estimate in pairs if estimate]
    if not known:
        return None
    trace = _dots([estimate for _, estimate in known], [name for name, _ in known])
    return {"data": [trace], "layout": _ratio_layout([trace], len(known))}


def laps(group: Group, per_process: int) -> Figure | None:
    """Where the compute laps of every correct runtime lie, one box per process; at most so many
    laps of each process.
    """
    if not group.ranked or not group.ranked[0].compute:
        return None
    per_ns, unit = formatting.duration_unit(group.ranked[0].compute.value)
    processes = max(len(results.laps_of(result.record, COMPUTE)) for result in group.ranked)
    traces = [_laps_trace(group, process, per_process, per_ns) for process in range(processes)]
    names = [_label(result.name) for result in group.ranked]
    layout = _layout(len(names), f"{unit} per inference, log scale", 14 * processes * len(names))
    layout["xaxis"].update(_log_axis([value for trace in traces for value in trace["x"]]))
    layout["yaxis"].update(
        tickmode="array", tickvals=list(range(len(names))), ticktext=names, type="linear"
    )
    layout.update(boxmode="group", boxgap=0.25, boxgroupgap=0.1, showlegend=processes > 1)
    return {"data": traces, "layout": layout}


def cold_starts(group: Group) -> Figure | None:
    """What a fresh process pays before its first answer: import, load, compile and first step,
    stacked.
    """
    started = [result for result in group.results if result.cold_start_seconds is not None]
    started.sort(key=lambda result: result.cold_start_seconds or 0.0)
    parts = (
        ("import", "import"),
        ("load", "load"),
        ("compile", "compile"),
        ("first_step", "first step"),
    )
    return _bars(started, parts, "seconds")


def prepares(group: Group) -> Figure | None:
    """What export, conversion and compilation took, once, before anything was loaded."""
    made = [result for result in group.results if result.seconds("prepare") is not None]
    made.sort(key=lambda result: result.seconds("prepare") or 0.0)
    return _bars(made, (("prepare", "prepare"),), "seconds")


def needed(group: Group) -> Figure | None:
    """The tolerance that every compared answer needs, against the limit of 1."""
    compared = [
        result
        for result in group.results
        if (result.record.get("parity") or {}).get("needed") is not None
    ]
    if not compared:
        return None
    compared.sort(key=lambda result: float(result.record["parity"]["needed"]))
    values = [
        min(max(float(result.record["parity"]["needed"]), _NEEDED_FLOOR), 1e9)
        for result in compared
    ]
    hover = [
        f"{_named(result)}: {formatting.number(float(result.record['parity']['needed']))} / 1"
        for result in compared
    ]
    trace: Figure = {
        "type": "scatter",
        "mode": "markers",
        "x": values,
        "y": [_named(result) for result in compared],
    }
    trace.update(hovertext=hover, hoverinfo="text", marker={"size": 11})
    layout = _layout(len(compared), "needed / allowed, log scale")
    decades = [10.0**power for power in range(-3, max(1, math.ceil(math.log10(max(values)))) + 1)]
    ticks = [f"≤{_NEEDED_FLOOR:g}", *(f"{decade:g}" for decade in decades[1:])]
    reach = [math.log10(decades[0]) - 0.15, math.log10(decades[-1])]
    layout["xaxis"].update(
        type="log", tickmode="array", tickvals=decades, ticktext=ticks, range=reach
    )
    layout["yaxis"].update(type="category")
    layout["shapes"] = [_line_at_one()]
    return {"data": [trace], "layout": layout}


def curves(
    lines: Sequence[tuple[str, Sequence[Sequence[float]]]], across: str, up: str, scale: float = 1.0
) -> Figure | None:
    """Steps that only go down: a name and its (x, y) points per line, y times `scale`, both axes
    logarithmic. None without a line.
    """
    if not lines:
        return None
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": _label(name),
            "x": [point[0] for point in points],
            "y": [_rounded(point[1] * scale) for point in points],
            "line": {"shape": "hv", "width": 2},
            "marker": {"size": 6, "symbol": _SYMBOLS[place % len(_SYMBOLS)]},
            "hovertemplate": f"{_label(name)}<br>%{{x}}: %{{y:.4~g}}<extra></extra>",
        }
        for place, (name, points) in enumerate(lines)
    ]
    layout = {**_layout(0, across), "height": 420, "showlegend": True}
    layout["xaxis"].update(_log_axis([value for trace in traces for value in trace["x"]]))
    layout["yaxis"] = {
        "automargin": True,
        "title": {"text": up},
        **_log_axis([value for trace in traces for value in trace["y"]]),
    }
    return {"data": traces, "layout": layout}


Roof = tuple[str, float, float]
"""Its name, FLOPs per second, and bytes per second."""

Point = tuple[str, float, float, str]
"""A point under a roof: the name of its series, FLOPs per byte, FLOPs per second, and what is told
of it in plain words.
"""


def roofline(roofs: Sequence[Roof], points: Sequence[Point]) -> Figure | None:
    """What was reached against what is possible: FLOPs per second over FLOPs per byte, both
    logarithmic. None without a point.
    """
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
    layout = {**_layout(0, "FLOP per byte, log scale"), "height": 460, "showlegend": True}
    layout["xaxis"].update(_log_axis(ends))
    heights = [value for trace in traces for value in trace["y"]]
    layout["yaxis"] = {
        "automargin": True,
        "title": {"text": "GFLOP/s, log scale"},
        **_log_axis(heights),
    }
    return {"data": traces, "layout": layout}


def _roof_trace(roof: Roof, ends: tuple[float, float]) -> dict[str, Any]:
    name, flops, bandwidth = roof
    corners = (ends[0], flops / bandwidth, ends[1])
    return {
        "type": "scatter",
        "mode": "lines",
        "name": _label(name),
        "x": [_rounded(place) for place in corners],
        "y": [_rounded(min(flops, bandwidth * place) / 1e9) for place in corners],
        "hovertemplate": f"{_label(name)}: %{{y:.3~g}} GFLOP/s<extra></extra>",
    }


def _points_trace(name: str, points: Sequence[Point], place: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": _label(name),
        "x": [_rounded(point[1]) for point in points],
        "y": [_rounded(point[2] / 1e9) for point in points],
        "hovertext": [_label(point[3]) for point in points],
        "hoverinfo": "text",
        "marker": {"size": 9, "symbol": _SYMBOLS[place % len(_SYMBOLS)]},
    }


def drawn_per_process(groups: Sequence[Group]) -> int:
    """How many laps of one process are drawn at most, so that all plots together keep to
    `LAPS_DRAWN`.
    """
    processes = sum(len(result.compute_ns) for group in groups for result in group.ranked)
    return max(8, LAPS_DRAWN // max(1, processes))


def _overview_trace(
    name: str, groups: Sequence[Group], rows: Sequence[str], place: int, lane: float
) -> dict[str, Any]:
    found = [
        (row, group.speedup(result))
        for row, group in enumerate(groups)
        for result in group.ranked
        if result.name == name
    ]
    known = [(row, estimate) for row, estimate in found if estimate]
    trace = _dots(
        [estimate for _, estimate in known], [rows[row] for row, _ in known], f"{_label(name)}, "
    )
    trace["y"] = [round(row + lane, 3) for row, _ in known]
    return {
        **trace,
        "name": _label(name),
        "marker": {"size": 10, "symbol": _SYMBOLS[place % len(_SYMBOLS)]},
    }


def _row_titles(groups: Sequence[Group]) -> list[str]:
    # Only what differs between the rows: the rest would take the width of the chart on a phone.
    keys = [
        key
        for key in _ROW_KEYS
        if key == "model" or len({str(group.first.get(key)) for group in groups}) > 1
    ]
    titles = [
        " · ".join(f"{_ROW_KEYS[key]}{group.first.get(key, '')}" for key in keys)
        for group in groups
    ]
    pairs = zip(titles, groups, strict=True)
    return [
        _label(title if titles.count(title) == 1 else f"{title} · {group.run}")
        for title, group in pairs
    ]


def _label(words: str) -> str:
    # Plotly reads its labels as a little HTML of its own: a model called `<b>` would lose its name.
    return escape(words, quote=False)


def _dots(estimates: Sequence[Estimate], names: Sequence[str], lead: str = "") -> dict[str, Any]:
    above = [_rounded((estimate.high or estimate.value) - estimate.value) for estimate in estimates]
    below = [_rounded(estimate.value - (estimate.low or estimate.value)) for estimate in estimates]
    words = [
        formatting.with_interval(formatting.ratio(estimate), formatting.ratio_interval(estimate))
        for estimate in estimates
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [_rounded(estimate.value) for estimate in estimates],
        "y": list(names),
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": above,
            "arrayminus": below,
            "thickness": 2,
            "width": 5,
        },
        "hovertext": [f"{lead}{name}: {shown}" for name, shown in zip(names, words, strict=True)],
        "hoverinfo": "text",
        "marker": {"size": 11},
    }


def _laps_trace(group: Group, process: int, most: int, per_ns: float) -> dict[str, Any]:
    x: list[float] = []
    y: list[int] = []
    for row, result in enumerate(group.ranked):
        taken = results.laps_of(result.record, COMPUTE)
        if process < len(taken):
            drawn = _thinned(taken[process], most)
            x += [_rounded(lap / per_ns) for lap in drawn]
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


def _thinned(values: Sequence[int], most: int) -> Sequence[int]:
    # Evenly through time and not at random: what drifts during the laps stays visible, and a report
    # is reproducible.
    return values[:: -(-len(values) // most)] if len(values) > most else values


def _bars(members: Sequence[Result], parts: Sequence[tuple[str, str]], title: str) -> Figure | None:
    if not members:
        return None
    names = [_named(result) for result in members]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": shown,
            "x": [_rounded(result.seconds(phase) or 0.0) for result in members],
            "y": names,
            "hovertemplate": f"{shown} %{{x:.3~s}}s<extra></extra>",
        }
        for phase, shown in parts
    ]
    layout = {
        **_layout(len(names), title),
        "barmode": "stack",
        "bargap": 0.35,
        "showlegend": len(parts) > 1,
    }
    layout["yaxis"].update(type="category")
    layout["xaxis"].update(rangemode="tozero")
    return {"data": traces, "layout": layout}


def _named(result: Result) -> str:
    return _label(
        result.name
        if result.ranks
        else f"{result.name} ({'control' if result.is_control else result.outcome})"
    )


def _ratio_layout(traces: Sequence[dict[str, Any]], rows: int) -> dict[str, Any]:
    layout = _layout(rows, "speed-up, log scale")
    layout["xaxis"].update(
        _log_axis([1.0, *(value for trace in traces for value in trace["x"])], "×")
    )
    layout["yaxis"].update(type="category")
    layout["shapes"] = [_line_at_one()]
    return layout


def _log_axis(values: Sequence[float], unit: str = "") -> dict[str, Any]:
    """A logarithmic axis with round ticks; plotly's own collide on a phone."""
    ticks = _ticks(min(values) * 0.9, max(values) * 1.1)
    words = [f"{tick:g}{unit}" for tick in ticks]
    return {
        "type": "log",
        "tickmode": "array",
        "tickvals": ticks,
        "ticktext": words,
        "tickangle": 0,
    }


def _ticks(low: float, high: float) -> list[float]:
    if high / low > 2.5:
        steps = (1, 1.5, 2, 3, 5, 7) if high / low < 12 else (1, 2, 5) if high / low < 200 else (1,)
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        return [
            float(f"{step}e{power}")
            for power in powers
            for step in steps
            if low <= float(f"{step}e{power}") <= high
        ]
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [
        round(step * place, 9)
        for place in range(math.ceil(low / step), math.floor(high / step) + 1)
    ]


def _line_at_one() -> dict[str, Any]:
    return {"type": "line", "x0": 1, "x1": 1, "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}


def _layout(rows: int, title: str, more_pixels: int = 0) -> Figure:
    return {
        "height": 84 + max(_ROW_PIXELS * rows, more_pixels),
        "xaxis": {"title": {"text": title}, "automargin": True},
        "yaxis": {"automargin": True, "autorange": "reversed", "showgrid": False},
    }


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
