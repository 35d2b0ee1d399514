"""Roofline: FLOPs per second over FLOPs per byte, under the measured bounds of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evenbench.reports import formatting
from evenbench.reports.charts import axes, drawing
from evenbench.reports.charts.drawing import COLOURS, MARKERS, Canvas, Chart, Layout

EXCEEDED = 1.1
"""A roof that a cell exceeds by this factor is no roof, and is not drawn."""


@dataclass(frozen=True)
class Roof:
    """A measured bound of the machine: FLOPs per second, and bytes per second."""

    name: str
    flops: float
    bandwidth: float

    def at(self, intensity: float) -> float:
        """Return the FLOPs per second possible at an intensity of FLOPs per byte."""
        return min(self.flops, self.bandwidth * intensity)


@dataclass(frozen=True)
class Point:
    """A cell: series, model, FLOPs per byte, FLOPs per second, and roof."""

    name: str
    model: str
    intensity: float
    flops: float
    roof: Roof

    @property
    def share(self) -> float:
        """The share of the FLOPs per second possible under the roof."""
        return self.flops / self.roof.at(self.intensity)


def chart(points: Sequence[Point], left_out: int = 0) -> Chart | None:
    """Return cells as points under the unbroken roofs; None without a point.

    `left_out` is the number of cells beyond the points.
    """
    if not points:
        return None
    roofs = list(dict.fromkeys(point.roof for point in points))
    broken = {point.roof for point in points if point.share > EXCEEDED}
    kept = [roof for roof in roofs if roof not in broken]
    names = sorted({point.name for point in points})
    across = [point.intensity for point in points] + [roof.flops / roof.bandwidth for roof in kept]
    ends = min(across) / 2, max(across) * 2
    up = [point.flops for point in points] + [roof.flops for roof in kept]
    heights = min(up) / 2, max(up) * 2

    def paint(canvas: Canvas) -> None:
        _axes(canvas, ends, heights)
        for roof in kept:
            places = [ends[0], roof.flops / roof.bandwidth, ends[1]]
            canvas.axes.plot(
                places,
                [max(roof.at(place), heights[0]) / 1e9 for place in places],
                color=COLOURS["soft"],
                linewidth=1.6,
            )
            canvas.axes.annotate(
                roof.name,
                (ends[1], roof.flops / 1e9),
                xytext=(0, 5),
                textcoords="offset points",
                ha="right",
                color=COLOURS["soft"],
                size=11,
            )
        for point in points:
            place = names.index(point.name)
            canvas.axes.plot(
                [point.intensity],
                [point.flops / 1e9],
                marker=MARKERS[place % len(MARKERS)],
                color=drawing.colour(place),
                markersize=8,
                linestyle="none",
            )
        _models(canvas, points)

    return drawing.draw(
        "roofline",
        lambda narrow: Layout(400 if narrow else 470, 56, 20, top=16, bottom=52),
        paint,
        "Scatter plot: FLOPs per second over FLOPs per byte of each cell, under the measured "
        "bounds of the machine; the numbers are in the following table",
        names,
        _note(points, broken, left_out),
    )


def _axes(canvas: Canvas, ends: tuple[float, float], heights: tuple[float, float]) -> None:
    axis = canvas.axes
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlim(*ends)
    axis.set_ylim(heights[0] / 1e9, heights[1] / 1e9)
    axis.grid(visible=True, axis="y", color=COLOURS["grid"], linewidth=1)
    for which, (low, high) in (("x", ends), ("y", (heights[0] / 1e9, heights[1] / 1e9))):
        most = 4 if canvas.narrow and which == "x" else 9
        ticks = axes.ticks(low, high)
        chosen = ticks if len(ticks) <= most else ticks[:: -(-len(ticks) // most)]
        set_ticks = axis.set_xticks if which == "x" else axis.set_yticks
        set_ticks(chosen, [f"{tick:g}" for tick in chosen])
        set_ticks([], minor=True)
    axis.set_xlabel("FLOP per byte, log scale", color=COLOURS["soft"])
    axis.set_ylabel("GFLOP/s, log scale", color=COLOURS["soft"])


def _models(canvas: Canvas, points: Sequence[Point]) -> None:
    """The name of each model above the highest point; models of one intensity share a place."""
    highest: dict[float, float] = {}
    named: dict[float, list[str]] = {}
    for point in points:
        highest[point.intensity] = max(highest.get(point.intensity, 0.0), point.flops)
        models = named.setdefault(point.intensity, [])
        if point.model not in models:
            models.append(point.model)
    for intensity, models in named.items():
        shown = models if len(models) < 3 else [models[0], f"{len(models) - 1} more"]
        canvas.axes.annotate(
            ", ".join(shown),
            (intensity, highest[intensity] / 1e9),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            size=11,
            color=COLOURS["text"],
        )


def _note(points: Sequence[Point], broken: set[Roof], left_out: int) -> str:
    words = []
    if broken:
        over = [point for point in points if point.roof in broken and point.share > EXCEEDED]
        most = max(point.share for point in over)
        names = formatting.listing(sorted(roof.name for roof in broken))
        words.append(
            f"Not drawn: {names}. {formatting.count(len(over), 'cell')} of this run "
            f"{'exceeds' if len(over) == 1 else 'exceed'} it, by up to "
            f"{formatting.number(100 * (most - 1), 2)}{formatting.SPACE}%, so it was no bound."
        )
    if left_out:
        words.append(f"{formatting.count(left_out, 'more cell')}: see the table.")
    return " ".join(words)
