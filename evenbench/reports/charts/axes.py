"""Axes, ticks and labels of charts, and the layout of interactive figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

Figure = dict[str, Any]
Trace = dict[str, Any]

ROW_PIXELS = 34
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")


def layout(rows: int, title: str, more_pixels: int = 0) -> Figure:
    """Return the layout of a chart with horizontal rows, the first row on top.

    `title` labels the horizontal axis; `more_pixels` raises the height beyond `ROW_PIXELS` a row.
    """
    return {
        "height": 84 + max(ROW_PIXELS * rows, more_pixels),
        "xaxis": {"title": {"text": title}, "automargin": True},
        "yaxis": {"automargin": True, "autorange": "reversed", "showgrid": False},
    }


def scatter_layout(traces: Sequence[Trace], across: str, up: str, pixels: int) -> Figure:
    """Return the layout of a scatter plot with two logarithmic axes, titled `across` and `up`."""
    figure = {**layout(0, across), "height": pixels, "showlegend": True}
    figure["xaxis"].update(log_axis([value for trace in traces for value in trace["x"]]))
    heights = [value for trace in traces for value in trace["y"]]
    figure["yaxis"] = {"automargin": True, "title": {"text": up}, **log_axis(heights)}
    return figure


def log_axis(
    values: Sequence[float], text: Callable[[float], str] = lambda tick: f"{tick:g}"
) -> dict[str, Any]:
    """Return a logarithmic axis with round ticks; plotly's own ticks collide on a phone."""
    positions = ticks(min(values) * 0.9, max(values) * 1.1)
    return {
        "type": "log",
        "tickmode": "array",
        "tickvals": positions,
        "ticktext": [text(tick) for tick in positions],
        "tickangle": 0,
    }


def log_range(values: Sequence[float]) -> list[float]:
    """Return the range of a logarithmic axis around `values`, in plotly's powers of ten."""
    return [round(math.log10(min(values) * 0.9), 4), round(math.log10(max(values) * 1.1), 4)]


def log_share(value: float, low: float, high: float) -> float:
    """Return the place of a value on a logarithmic axis, 0 at `low`, 1 at `high`, kept within."""
    kept = min(max(value, low), high)
    return math.log(kept / low) / math.log(high / low)


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers from `low` to `high`, fewer per decade the more decades are spanned."""
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


def line_at_one() -> dict[str, Any]:
    """Return a vertical line at 1, across the height of the plot."""
    return {"type": "line", "x0": 1, "x1": 1, "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}


def label(text: str) -> str:
    """Escape a label for plotly, which reads labels as HTML: a model named `<b>` would vanish."""
    return escape(text, quote=False)


def rounded(value: float) -> float:
    """Round a coordinate to five significant digits, to keep the page small."""
    return float(f"{value:.5g}")
