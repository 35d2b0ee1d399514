"""Progress and gain of schedule tuning: a table, and estimated latency against trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evenbench.reports import formatting
from evenbench.reports.charts import steps
from evenbench.reports.charts.drawing import Chart
from evenbench.reports.result_groups import Record, Result

CURVE = "curve_us"
"""Key of the (trials, estimated µs) points within the facts; drawn, not listed."""


@dataclass(frozen=True)
class TuningRow:
    """A cell of a runtime with tuning, tuned or not, as texts."""

    cell: str
    label: str
    tasks: str
    trials: str
    seconds: str
    estimated: str
    measured: str


def facts_of(record: Record) -> Record:
    """Return the tuning facts of an artifact; empty for a runtime without search."""
    return ((record.get("artifact") or {}).get("facts") or {}).get("tuning") or {}


def readable(facts: Record) -> dict[str, Any]:
    """Return an artifact's facts without the points of the curve."""
    known = dict(facts)
    if known.get("tuning"):
        known["tuning"] = {name: value for name, value in known["tuning"].items() if name != CURVE}
    return known


def rows(members: Sequence[Result]) -> list[TuningRow]:
    """Return a row per cell of a runtime with tuning, in recorded order."""
    return [_row(result) for result in members if facts_of(result.record)]


def _row(result: Result) -> TuningRow:
    facts = facts_of(result.record)
    without = int(facts.get("tasks_without_record") or 0)
    return TuningRow(
        cell=str(result.cell.get("id", "")),
        label=", ".join(result.record.get("labels") or []) or result.outcome,
        tasks=formatting.count(int(facts.get("tasks") or 0), "task")
        + (f", {without:,} without a record" if without else ""),
        trials=f"{int(facts.get('trials') or 0):,}",
        seconds=formatting.seconds(facts.get("seconds") or None),
        estimated=_estimated(facts),
        measured=formatting.latency(result.compute),
    )


def _estimated(facts: Record) -> str:
    """The tuner's estimates at both ends of the curve."""
    points = facts.get(CURVE) or []
    return (
        f"{formatting.duration(points[0][1] * 1e3)} → {formatting.duration(points[-1][1] * 1e3)}"
        if points
        else formatting.DASH
    )


def drawn(members: Sequence[Result]) -> Chart | None:
    """Return the tuner's best estimate against trials, a line per database; None without tuning."""
    curves_by_setting: dict[tuple[Any, ...], tuple[str, Sequence[Sequence[float]]]] = {}
    for result in members:
        points = facts_of(result.record).get(CURVE) or []
        if len(points) > 1:  # cells with different options may share a database, hence a curve
            curves_by_setting.setdefault(
                (_setting(result), tuple(map(tuple, points))), (_setting(result), points)
            )
    return steps.steps(
        list(curves_by_setting.values()),
        "trials, log scale",
        "estimated ms per inference, log scale",
        1e-3,
    )


def _setting(result: Result) -> str:
    cell = result.cell
    threads = formatting.count(int(cell.get("threads") or 0), "thread")
    names = [str(cell.get(name, "")) for name in ("model", "backend", "precision", "device")]
    return " · ".join([*names, f"batch {cell.get('batch', formatting.DASH)}", threads])
