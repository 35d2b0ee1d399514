"""How far runtimes that search for their schedules were tuned, and what the search was worth: a
table, and latency against trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reports import formatting
from reports.charts import curves
from reports.charts.axes import Figure
from reports.results import Record, Result

CURVE = "curve_us"
"""The key within the facts of the points (trials, estimated µs), which are drawn and too many to be
read.
"""


@dataclass(frozen=True)
class TuningRow:
    """One tuned, or not yet tuned, cell as strings."""

    cell: str
    label: str
    tasks: str
    trials: str
    seconds: str
    estimated: str
    measured: str


def facts_of(record: Record) -> Record:
    """What an artifact's facts say of its tuning; empty for a runtime that does not search."""
    return ((record.get("artifact") or {}).get("facts") or {}).get("tuning") or {}


def readable(facts: Record) -> dict[str, Any]:
    """An artifact's facts without the points of a curve."""
    known = dict(facts)
    if known.get("tuning"):
        known["tuning"] = {name: value for name, value in known["tuning"].items() if name != CURVE}
    return known


def rows(members: Sequence[Result]) -> list[TuningRow]:
    """One row for every cell of such a runtime, in the order of recording; what was not tuned says
    so.
    """
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
    """The tuner's own estimate where the curve begins and where it ends."""
    points = facts.get(CURVE) or []
    return (
        f"{formatting.duration(points[0][1] * 1e3)} → {formatting.duration(points[-1][1] * 1e3)}"
        if points
        else formatting.DASH
    )


def figure(members: Sequence[Result]) -> Figure | None:
    """The tuner's best estimate so far against its trials, one line per database; None where
    nothing was tuned.
    """
    found: dict[tuple[Any, ...], tuple[str, Sequence[Sequence[float]]]] = {}
    for result in members:
        points = facts_of(result.record).get(CURVE) or []
        if len(points) > 1:  # cells that differ in an option alone share one database, and one line
            found.setdefault(
                (_setting(result), tuple(map(tuple, points))), (_setting(result), points)
            )
    return curves.steps(
        list(found.values()), "trials, log scale", "estimated ms per inference, log scale", 1e-3
    )


def _setting(result: Result) -> str:
    cell = result.cell
    threads = formatting.count(int(cell.get("threads") or 0), "thread")
    names = [str(cell.get(name, "")) for name in ("model", "backend", "precision", "device")]
    return " · ".join([*names, f"batch {cell.get('batch', formatting.DASH)}", threads])
