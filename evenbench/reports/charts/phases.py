"""Cold starts: import, load, compile and first step of a fresh process, stacked, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evenbench.reports import formatting
from evenbench.reports.charts import drawing
from evenbench.reports.charts.drawing import COLOURS, Canvas, Chart, Layout
from evenbench.reports.result_groups import Group, Result

ROWS_DRAWN = 40
"""Limit on bars; the note of the chart counts further cells."""

PHASES = ("import", "load", "compile", "first_step")

HEIGHTS = (14, 9)
"""Heights of neighbouring phases in pixels, which differ for readers who see no colours."""

ROW, ROW_NARROW, GAP = 24, 40, 14
"""Pixels of a row, on a phone, and between models."""


@dataclass(frozen=True)
class Bar:
    """A cell with phases in seconds; `title` is the name of the model in the first row."""

    title: str
    name: str
    seconds: tuple[float, ...]
    words: str


def cold_starts(groups: Sequence[Group]) -> Chart | None:
    """Return the cold start of every cell that can be shipped, fastest first within a group.

    None without a cold start. A cell with a wrong output is no choice, and has no bar.
    """
    bars = [bar for group in groups for bar in _bars(group)]
    shown = bars[:ROWS_DRAWN]
    if not shown:
        return None
    most = max(sum(bar.seconds) for bar in shown)
    used = [place for place in range(len(PHASES)) if any(bar.seconds[place] for bar in shown)]

    def layout(narrow: bool) -> Layout:
        height = sum(_height(bar, narrow) for bar in shown) + 50
        return Layout(height, 12 if narrow else 330, 70 if narrow else 110, top=8, bottom=42)

    def paint(canvas: Canvas) -> None:
        canvas.axes.set_xlim(0, most)
        canvas.axes.set_ylim(sum(_height(bar, canvas.narrow) for bar in shown), 0)
        canvas.axes.set_yticks([])
        canvas.axes.locator_params(axis="x", nbins=4 if canvas.narrow else 8)
        canvas.axes.set_xlabel("seconds", color=COLOURS["soft"])
        top = 0.0
        for bar in shown:
            top += _height(bar, canvas.narrow)
            _paint(canvas, bar, top, used)

    left_out = len(bars) - len(shown)
    words = [PHASES[place].replace("_", " ") for place in used]
    return drawing.draw(
        "cold-start",
        layout,
        paint,
        "Bar chart: import, load, compile and first step of a fresh process, in seconds from 0; "
        "the numbers are in the table of cells",
        words,
        f"{formatting.count(left_out, 'more cell')}: see the table." if left_out else "",
    )


def _bars(group: Group) -> list[Bar]:
    started = [result for result in group.ranked if result.cold_start_seconds is not None]
    started.sort(key=lambda result: result.cold_start_seconds or 0.0)
    return [
        Bar(
            "" if place else str(group.first.get("model", "")),
            result.name,
            tuple(result.seconds(phase) or 0.0 for phase in PHASES),
            formatting.seconds(result.cold_start_seconds),
        )
        for place, result in enumerate(started)
    ]


def _height(bar: Bar, narrow: bool) -> int:
    heading = GAP + (20 if narrow else 0)
    return (ROW_NARROW if narrow else ROW) + (heading if bar.title else 0)


def _paint(canvas: Canvas, bar: Bar, bottom: float, used: Sequence[int]) -> None:
    narrow = canvas.narrow
    middle = bottom - 10
    if narrow:
        if bar.title:
            canvas.text(10, bottom - ROW_NARROW - 8, bar.title, weight="bold")
        canvas.text(10, bottom - 29, bar.name, size=12)
    else:
        canvas.text(0, middle, bar.title, weight="bold")
        canvas.text(canvas.left - 10, middle, bar.name, ha="right")
    left = 0.0
    for series, place in enumerate(used):
        canvas.axes.barh(
            middle,
            bar.seconds[place],
            left=left,
            height=HEIGHTS[series % len(HEIGHTS)],
            color=drawing.colour(series),
            edgecolor=COLOURS["raised"],
            linewidth=0.8,
        )
        left += bar.seconds[place]
    canvas.axes.annotate(
        bar.words,
        (left, middle),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        color=COLOURS["text"],
        annotation_clip=False,
    )


def name_with_outcome(result: Result) -> str:
    """Return the name of a result, with the outcome if the result is not ranked."""
    outcome = "control" if result.is_control else result.outcome
    return result.name if result.ranks else f"{result.name} ({outcome})"
