"""Falling steps on two logarithmic axes: the best estimate so far against trials."""

from __future__ import annotations

from collections.abc import Sequence

from evenbench.reports.charts import axes, drawing
from evenbench.reports.charts.drawing import COLOURS, MARKERS, Canvas, Chart, Layout

Line = tuple[str, Sequence[Sequence[float]]]
"""A name, and its points (x, y)."""


def steps(lines: Sequence[Line], across: str, up: str, scale: float = 1.0) -> Chart | None:
    """Return a line per name, y multiplied by `scale`; None without a line.

    `across` and `up` are the titles of the axes.
    """
    if not lines:
        return None
    xs = [point[0] for _, points in lines for point in points]
    ys = [point[1] * scale for _, points in lines for point in points]

    def paint(canvas: Canvas) -> None:
        axis = canvas.axes
        axis.set_xscale("log")
        axis.set_yscale("log")
        for place, (_, points) in enumerate(lines):
            axis.plot(
                [point[0] for point in points],
                [point[1] * scale for point in points],
                drawstyle="steps-post",
                color=drawing.colour(place),
                marker=MARKERS[place % len(MARKERS)],
                markersize=6,
                linewidth=2,
            )
        axis.grid(visible=True, axis="y", color=COLOURS["grid"], linewidth=1)
        for values, set_ticks, set_ends in (
            (xs, axis.set_xticks, axis.set_xlim),
            (ys, axis.set_yticks, axis.set_ylim),
        ):
            low, high = min(values) * 0.9, max(values) * 1.1
            ticks = axes.ticks(low, high)
            set_ends(low, high)
            chosen = ticks[:: 2 if canvas.narrow and len(ticks) > 4 else 1]
            set_ticks(chosen, [f"{tick:g}" for tick in chosen])
            set_ticks([], minor=True)
        axis.set_xlabel(across, color=COLOURS["soft"])
        axis.set_ylabel(up, color=COLOURS["soft"])

    return drawing.draw(
        "tuning",
        lambda narrow: Layout(320 if narrow else 400, 62, 20, top=16, bottom=52),
        paint,
        f"Line chart: {up} against {across}, a line per model and setting; the table has both ends",
        [name for name, _ in lines],
    )
