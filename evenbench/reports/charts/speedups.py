"""Speed-ups over the baseline: an overview of all groups, and one group with intervals."""

from __future__ import annotations

from collections.abc import Sequence

from evenbench.harness.statistics.estimates import Estimate
from evenbench.reports import formatting
from evenbench.reports.charts import axes
from evenbench.reports.charts.axes import SYMBOLS, Figure, Trace
from evenbench.reports.formatting import judged
from evenbench.reports.result_groups import Group

OVERVIEW_GROUPS = 16
"""Number of groups in the overview; with more groups the rows become indistinguishable."""

_ROW_KEYS = {"model": "", "precision": "", "device": "", "batch": "b", "threads": "t"}


def overview(groups: Sequence[Group]) -> Figure | None:
    """Return the speed-up of every correct runtime, one row per group; None without speed-ups."""
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
    layout["height"] = 84 + len(rows) * max(axes.ROW_PIXELS, 14 * len(names))
    # The first row on top. A row is one unit high, and its runtimes lie in lanes of the row.
    layout["yaxis"].update(
        type="linear",
        autorange=False,
        range=[len(rows) - 0.5, -0.5],
        tickmode="array",
        tickvals=list(range(len(rows))),
        ticktext=rows,
    )
    return {"data": traces, "layout": layout} if traces else None


def of_group(group: Group) -> Figure | None:
    """Return the speed-up of every correct runtime of one group, with intervals.

    Speed-ups too uncertain for a judgement are left out.
    """
    pairs = [
        (axes.label(result.name), group.speedup(result))
        for result in group.ranked
        if result is not group.baseline
    ]
    known = [(name, estimate) for name, estimate in pairs if estimate and judged(estimate)]
    if not known:
        return None
    trace = _dots([estimate for _, estimate in known], [name for name, _ in known])
    return {"data": [trace], "layout": _ratio_layout([trace], len(known))}


def _overview_trace(
    name: str, groups: Sequence[Group], rows: Sequence[str], place: int, lane: float
) -> Trace:
    pairs = [
        (row, group.speedup(result))
        for row, group in enumerate(groups)
        for result in group.ranked
        if result.name == name
    ]
    known = [(row, estimate) for row, estimate in pairs if estimate and judged(estimate)]
    lead = f"{axes.label(name)}, "
    trace = _dots([estimate for _, estimate in known], [rows[row] for row, _ in known], lead)
    trace["y"] = [round(row + lane, 3) for row, _ in known]
    return {
        **trace,
        "name": axes.label(name),
        "marker": {"size": 10, "symbol": SYMBOLS[place % len(SYMBOLS)]},
    }


def _row_titles(groups: Sequence[Group]) -> list[str]:
    # Only parts that differ between rows: the rest would take the width of the chart on a phone.
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
        axes.label(title if titles.count(title) == 1 else f"{title} · {group.run}")
        for title, group in pairs
    ]


def _dots(estimates: Sequence[Estimate], names: Sequence[str], lead: str = "") -> Trace:
    above = [
        axes.rounded((estimate.high or estimate.value) - estimate.value) for estimate in estimates
    ]
    below = [
        axes.rounded(estimate.value - (estimate.low or estimate.value)) for estimate in estimates
    ]
    texts = [
        formatting.with_interval(formatting.ratio(estimate), formatting.ratio_interval(estimate))
        for estimate in estimates
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [axes.rounded(estimate.value) for estimate in estimates],
        "y": list(names),
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": above,
            "arrayminus": below,
            "thickness": 2,
            "width": 5,
        },
        "hovertext": [f"{lead}{name}: {text}" for name, text in zip(names, texts, strict=True)],
        "hoverinfo": "text",
        "marker": {"size": 11},
    }


def _ratio_layout(traces: Sequence[Trace], rows: int) -> Figure:
    layout = axes.layout(rows, "speed-up, log scale")
    values = [1.0, *(value for trace in traces for value in trace["x"])]
    layout["xaxis"].update(axes.log_axis(values, lambda tick: f"{tick:g}×"))
    layout["yaxis"].update(type="category")
    layout["shapes"] = [axes.line_at_one()]
    return layout
