"""Errors of outputs against the tolerance, of cells with a visible share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evenbench.reports import formatting
from evenbench.reports.charts import drawing
from evenbench.reports.charts.drawing import COLOURS, Canvas, Chart, Layout
from evenbench.reports.charts.phases import name_with_outcome
from evenbench.reports.result_groups import Group, Result

WORTH_DRAWING = 0.1
"""A cell that needs less of the tolerance is counted in the sentence, and not drawn."""

ROWS_DRAWN = 40

CEILING = 1e4

ROW, ROW_NARROW = 24, 42


@dataclass(frozen=True)
class Correctness:
    """The sentence on all comparisons, and the chart of visible errors."""

    sentence: str
    chart: Chart | None


def correctness(groups: Sequence[Group]) -> Correctness:
    """Return how far outputs are from the reference answer, as shares of the tolerance."""
    compared = [
        (group, result)
        for group in groups
        for result in group.results
        if not result.is_control and (result.record.get("parity") or {}).get("needed") is not None
    ]
    if not compared:
        return Correctness("No output was compared with a reference answer.", None)
    drawn = sorted(
        (pair for pair in compared if _needed(pair[1]) >= WORTH_DRAWING),
        key=lambda pair: -_needed(pair[1]),
    )
    wrong = sum(_needed(result) > 1 for _, result in compared)
    close = len(drawn) - wrong
    quiet = len(compared) - len(drawn)
    parts = [
        f"{wrong:,} outside the tolerance" if wrong else "",
        f"{close:,} within it, at 10 % of it or more" if close else "",
        f"{quiet:,} below 10 % of it" if quiet else "",
    ]
    sentence = (
        f"{formatting.count(len(compared), 'cell')} compared with the reference answer: "
        f"{formatting.listing(filter(None, parts))}."
    )
    return Correctness(sentence, _chart(drawn[:ROWS_DRAWN], len(drawn)) if drawn else None)


def _chart(pairs: Sequence[tuple[Group, Result]], total: int) -> Chart:
    values = [min(_needed(result), CEILING) for _, result in pairs]
    high = max(2.0, max(values) * 1.5)

    def layout(narrow: bool) -> Layout:
        height = len(pairs) * (ROW_NARROW if narrow else ROW) + 70
        return Layout(height, 12 if narrow else 330, 56 if narrow else 110, bottom=44)

    def paint(canvas: Canvas) -> None:
        row = ROW_NARROW if canvas.narrow else ROW
        canvas.axes.set_xscale("log")
        canvas.axes.set_xlim(WORTH_DRAWING, high)
        canvas.axes.set_ylim(len(pairs) * row, 0)
        canvas.axes.set_yticks([])
        ticks = [tick for tick in (0.1, 0.3, 1, 3, 10, 100, 1000, 10000) if tick <= high]
        canvas.axes.set_xticks(ticks, [f"{100 * tick:,.0f} %" for tick in ticks])
        canvas.axes.set_xticks([], minor=True)
        canvas.axes.set_xlabel("of the tolerance, log scale", color=COLOURS["soft"])
        canvas.axes.axvline(1, color=COLOURS["soft"], linewidth=1.5)
        canvas.axes.axvspan(1, high, color=COLOURS["bad"], alpha=0.08, linewidth=0)
        for place, ((group, result), value) in enumerate(zip(pairs, values, strict=True)):
            _paint(canvas, group, result, value, row * (place + 0.5))

    more = total - len(pairs)
    return drawing.draw(
        "correctness",
        layout,
        paint,
        "Dot plot: error of each output in percent of its tolerance, log scale; above 100 % the "
        "output is wrong; the numbers are in the table of cells",
        note=f"{formatting.count(more, 'more cell')}: see the table." if more else "",
    )


def _paint(canvas: Canvas, group: Group, result: Result, value: float, y: float) -> None:
    model, name = str(group.first.get("model", "")), name_with_outcome(result)
    wrong = value > 1
    if canvas.narrow:
        canvas.text(10, y - 9, f"{model} · {name}", size=12)
        y += 9
    else:
        canvas.text(0, y, model)
        canvas.text(canvas.left - 10, y, name, ha="right")
    canvas.axes.plot(
        [value],
        [y],
        marker="X" if wrong else "o",
        color=COLOURS["bad" if wrong else "c1"],
        markersize=9,
        linestyle="none",
    )
    canvas.axes.annotate(
        f"{formatting.number(100 * _needed(result), 2)} %",
        (value, y),
        xytext=(9, 0),
        textcoords="offset points",
        va="center",
        color=COLOURS["text"],
        annotation_clip=False,
    )


def _needed(result: Result) -> float:
    return float(result.record["parity"]["needed"])
