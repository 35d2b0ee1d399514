"""Speed-ups over the baseline: a dot and a 95 % interval per correct runtime, group by group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evenbench.harness.statistics.estimates import Estimate
from evenbench.reports import formatting
from evenbench.reports.charts import axes, drawing
from evenbench.reports.charts.drawing import COLOURS, Canvas, Chart, Layout
from evenbench.reports.formatting import judged
from evenbench.reports.result_groups import BASELINE, Group

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GROUPS_DRAWN = 24
"""Limit on groups in the chart; the note of the chart counts further groups."""

BEYOND = 2.0
"""The axis reaches this many times beyond the points; intervals end there in an arrow."""

ROW, ROW_NARROW, GAP = 24, 42, 16
"""Pixels of a row, on a phone, and between groups."""

_KEYS = {"model": "", "precision": "", "device": "", "batch": "b", "threads": "t"}


@dataclass(frozen=True)
class Row:
    """A runtime of a group; `title` is the name of the group in the first row."""

    title: str
    name: str
    speedup: Estimate


def overview(groups: Sequence[Group]) -> Chart | None:
    """Return the speed-up of every correct runtime, group by group; None without speed-ups."""
    against = [group for group in groups if group.baseline and len(group.ranked) > 1]
    shown = against[:GROUPS_DRAWN]
    rows = _rows(shown)
    values = [row.speedup.value for row in rows if judged(row.speedup)]
    if not values:
        return None
    names = sorted({row.name for row in rows})
    low, high = min(1.0, *values) / BEYOND, max(1.0, *values) * BEYOND
    more = len(against) - len(shown)
    left_out = f"{formatting.count(more, 'more group')}: see the table of cells." if more else ""

    def layout(narrow: bool) -> Layout:
        height = sum(_heights(rows, narrow)) + 58
        return Layout(height, 12 if narrow else 190, 12 if narrow else 330)

    def paint(canvas: Canvas) -> None:
        _axis(canvas, rows, low, high)
        for y, row in zip(_places(rows, canvas.narrow), rows, strict=True):
            _row(canvas, row, y)
        for place, name in enumerate(names):
            _marks(canvas, _lanes(rows, canvas.narrow, name), place, (low, high))

    label = (
        f"Dot plot: speed-up of every correct runtime over {BASELINE} with 95 % intervals, "
        "on a logarithmic scale; the numbers are in the table of cells"
    )
    return drawing.draw("overview", layout, paint, label, names, left_out)


def _rows(groups: Sequence[Group]) -> list[Row]:
    rows = []
    for title, group in zip(_titles(groups), groups, strict=True):
        known = [
            (result.name, speedup)
            for result in group.ranked
            if result is not group.baseline and (speedup := group.speedup(result))
        ]
        known.sort(key=lambda pair: not judged(pair[1]))
        rows += [
            Row("" if place else title, name, speedup)
            for place, (name, speedup) in enumerate(known)
        ]
    return rows


def _heights(rows: Sequence[Row], narrow: bool) -> list[int]:
    row = ROW_NARROW if narrow else ROW
    heading = GAP + (22 if narrow else 0)
    return [row + (heading if each.title else 0) for each in rows]


def _places(rows: Sequence[Row], narrow: bool) -> list[float]:
    """The middle of each row in pixels from the top of the axes."""
    row, place, places = ROW_NARROW if narrow else ROW, 0, []
    for height in _heights(rows, narrow):
        place += height
        places.append(place - row / 2)
    return places


def _lanes(rows: Sequence[Row], narrow: bool, name: str) -> list[tuple[Row, float]]:
    """The judged rows of a runtime, each with the height of its interval."""
    places = zip(rows, _places(rows, narrow), strict=True)
    shift = 10 if narrow else 0
    return [(row, y + shift) for row, y in places if row.name == name and judged(row.speedup)]


def _axis(canvas: Canvas, rows: Sequence[Row], low: float, high: float) -> None:
    bottom = sum(_heights(rows, canvas.narrow))
    axis: Axes = canvas.axes
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    axis.set_ylim(bottom, 0)
    every = axes.ticks(low, high)
    most = 4 if canvas.narrow else 8
    chosen = _powers(low, high) if len(every) > most else every
    axis.set_xticks(chosen, [f"{tick:g}×" for tick in chosen])
    axis.set_xticks([], minor=True)
    axis.set_yticks([])
    axis.axvline(1, color=COLOURS["soft"], linewidth=1.5)
    axis.annotate(
        "← slower\N{EM SPACE}\N{EM SPACE}faster →",
        (1, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 6),
        textcoords="offset points",
        ha="center",
        color=COLOURS["soft"],
        size=11.5,
        annotation_clip=False,
    )


def _powers(low: float, high: float) -> list[float]:
    """Powers of two, of four and so on, so that few ticks stay between the ends."""
    step = max(1, math.ceil(math.log2(high / low) / 5))
    first = math.ceil(math.log2(low) / step) * step
    return [2.0**power for power in range(first, math.floor(math.log2(high)) + 1, step)]


def _row(canvas: Canvas, row: Row, y: float) -> None:
    narrow = canvas.narrow
    if row.title:
        above = y - ROW_NARROW / 2 - 8 if narrow else y
        canvas.text(10 if narrow else 0, above, row.title, weight="bold")
        edge = above - 16 if narrow else y - ROW / 2 - GAP / 2
        canvas.axes.axhline(edge, color=COLOURS["line"], linewidth=1)
    _words(canvas, row, y)


def _marks(
    canvas: Canvas, lanes: Sequence[tuple[Row, float]], place: int, ends: tuple[float, float]
) -> None:
    """The intervals and points of a runtime, in one path each: a small page."""
    tint = drawing.colour(place)
    gap = float("nan")
    across: list[float] = []
    up: list[float] = []
    for row, y in lanes:
        low, high = row.speedup.low or row.speedup.value, row.speedup.high or row.speedup.value
        across += [max(low, ends[0]), min(high, ends[1]), gap]
        up += [y, y, gap]
        for cut, end, arrow in ((low < ends[0], ends[0], "<"), (high > ends[1], ends[1], ">")):
            if cut:
                canvas.axes.plot(
                    [end],
                    [y],
                    marker=arrow,
                    color=tint,
                    markersize=8,
                    clip_on=False,
                    linestyle="none",
                )
    canvas.axes.plot(across, up, color=tint, linewidth=2.4, solid_capstyle="round")
    canvas.axes.plot(
        [row.speedup.value for row, _ in lanes],
        [y for _, y in lanes],
        marker=drawing.MARKERS[place % len(drawing.MARKERS)],
        markersize=8.5,
        color=tint,
        linestyle="none",
    )


def _words(canvas: Canvas, row: Row, y: float) -> None:
    text, between = formatting.ratio(row.speedup), formatting.ratio_interval(row.speedup)
    if canvas.narrow:
        canvas.text(10, y - 10, row.name, size=12)
        canvas.text(
            canvas.width - 12, y - 10, f"{text}  {between}", size=11.5, colour="soft", ha="right"
        )
        return
    right = canvas.width - canvas.right + 16
    canvas.text(right, y, row.name)
    canvas.text(right + 204, y, text, ha="right", weight="bold")
    canvas.text(right + 212, y, between, colour="soft", size=11.5)


def _titles(groups: Sequence[Group]) -> list[str]:
    # Only parts that differ between groups: the rest stands once above the chart.
    keys = [
        key
        for key in _KEYS
        if key == "model" or len({str(group.first.get(key)) for group in groups}) > 1
    ]
    titles = [
        " · ".join(f"{_KEYS[key]}{group.first.get(key, '')}" for key in keys) for group in groups
    ]
    return [
        title if titles.count(title) == 1 else f"{title} · {group.run}"
        for title, group in zip(titles, groups, strict=True)
    ]
