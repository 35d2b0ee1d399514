"""Latency over memory of the correct cells of a model, with the Pareto front and accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evenbench.reports import formatting
from evenbench.reports.charts import axes, drawing
from evenbench.reports.charts.drawing import COLOURS, MARKERS, Canvas, Chart, Layout

ABOVE_NS, ABOVE_BYTES = 1e6, 1e6
"""Units of the axes: milliseconds and megabytes."""


@dataclass(frozen=True)
class TradeOff:
    """A correct cell: the series (a precision), latency host to host, peak memory."""

    series: str
    latency_ns: float
    memory_bytes: float
    is_on_front: bool


def chart(name: str, model: str, points: Sequence[TradeOff]) -> Chart | None:
    """Return the cells of a model, filled and numbered on the front; None below two points.

    `name` is unique on the page.
    """
    if len(points) < 2:
        return None
    series = list(dict.fromkeys(point.series for point in points))
    across = [point.latency_ns / ABOVE_NS for point in points]
    up = [point.memory_bytes / ABOVE_BYTES for point in points]
    ends = min(across) / 1.3, max(across) * 1.3
    room = max(0.12 * (max(up) - min(up)), 0.04 * max(up))
    front = sorted(
        (point for point in points if point.is_on_front), key=lambda point: point.latency_ns
    )

    def paint(canvas: Canvas) -> None:
        _axes(canvas, ends, (max(0.0, min(up) - room), max(up) + 2 * room))
        for place, name in enumerate(series):
            _series(canvas, [point for point in points if point.series == name], place)
        for number, point in enumerate(front, 1):
            _number(canvas, point, number)

    return drawing.draw(
        name,
        lambda narrow: Layout(300, 56, 24, top=16, bottom=48),
        paint,
        f"Scatter plot of {model}: peak memory over latency of every correct cell; "
        "the cells on the Pareto front are numbered as in the table above",
        series,
    )


def _axes(canvas: Canvas, across: tuple[float, float], up: tuple[float, float]) -> None:
    axis = canvas.axes
    axis.set_xscale("log")
    axis.set_xlim(*across)
    axis.set_ylim(*up)
    axis.grid(visible=True, axis="y", color=COLOURS["grid"], linewidth=1)
    every = axes.ticks(*across)
    most = 4 if canvas.narrow else 9
    chosen = every if len(every) <= most else every[:: -(-len(every) // most)]
    axis.set_xticks(chosen, [f"{tick:g}" for tick in chosen])
    axis.set_xticks([], minor=True)
    axis.set_xlabel("latency with copies, ms, log scale (left is faster)", color=COLOURS["soft"])
    axis.set_ylabel("peak memory, MB", color=COLOURS["soft"])


def _series(canvas: Canvas, points: Sequence[TradeOff], place: int) -> None:
    """The cells of a precision, in one path each for filled and hollow marks: a small page."""
    tint = drawing.colour(place)
    for is_on_front in (False, True):
        shown = [point for point in points if point.is_on_front == is_on_front]
        canvas.axes.plot(
            [point.latency_ns / ABOVE_NS for point in shown],
            [point.memory_bytes / ABOVE_BYTES for point in shown],
            marker=MARKERS[place % len(MARKERS)],
            markersize=9 if is_on_front else 6.5,
            markeredgecolor=tint,
            markerfacecolor=tint if is_on_front else COLOURS["raised"],
            linestyle="none",
        )


def _number(canvas: Canvas, point: TradeOff, number: int) -> None:
    """The number of a cell on the front, as in the table: names would collide."""
    canvas.axes.annotate(
        str(number),
        (point.latency_ns / ABOVE_NS, point.memory_bytes / ABOVE_BYTES),
        xytext=(0, 11),
        textcoords="offset points",
        ha="center",
        va="center",
        size=11,
        color=COLOURS["text"],
    )


def words(accuracy: float | None) -> str:
    """An accuracy as text; empty if unknown."""
    return "" if accuracy is None else f"{formatting.number(100 * accuracy)}{formatting.SPACE}%"
