"""Series of recorded outcomes over time, by cell, split by environment. Pure: records in,
values out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from evenbench.harness.core.records.environment import EnvironmentRecord
from evenbench.harness.core.records.outcome import CellRecord, OutcomeRecord
from evenbench.harness.core.serialization import digest
from evenbench.harness.core.types import COMPUTE
from evenbench.harness.results import interleaving
from evenbench.harness.statistics import ratios
from evenbench.harness.statistics.estimates import Estimate, level

LATENCY, ERROR, MEMORY, ARTIFACT = "latency", "error", "memory", "artifact"
METRICS = (LATENCY, ERROR, MEMORY, ARTIFACT)
"""Units: nanoseconds of `compute`; needed over allowed tolerance; bytes at the peak; bytes. Larger
values are worse.
"""

ERROR_FLOOR = 0.01
"""Smaller shares of the allowed error are raised to this share: 2e-9 is not worse than 1e-9."""

MACHINE = (
    "cpu",
    "cpu_flags",
    "cores",
    "arch",
    "governor",
    "turbo_off",
    "smt",
    "memory_bytes",
    "python",
)
"""Facts of an environment shared by the points of a span, besides GPUs and packages."""

Facts = tuple[tuple[str, str], ...]
"""Names and values, sorted."""


def facts(environment: EnvironmentRecord | None, device: str = "cpu") -> Facts:
    """The facts of a recorded environment that can change a measurement: the machine, the
    interpreter, and every package but evenbench itself.
    """
    recorded: Mapping[str, Any] = environment or {}
    known = {name: _as_text(recorded.get(name)) for name in MACHINE}
    if device != "cpu":
        known["gpus"] = ", ".join(
            f"{gpu.get('name')} driver {gpu.get('driver')}" for gpu in recorded.get("gpus") or []
        )
    packages = recorded.get("packages") or {}
    known |= {name: str(version) for name, version in packages.items() if name != "evenbench"}
    return tuple(sorted(known.items()))


def changes(one: Facts, other: Facts) -> list[str]:
    """The differing facts as text: `onnxruntime 1.24.1 → 1.31.1`."""
    before, after = dict(one), dict(other)
    names = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    return [
        f"{name} {before.get(name) or 'absent'} → {after.get(name) or 'absent'}" for name in names
    ]


def _as_text(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Point:
    """An outcome without laps. `values` has the available metrics."""

    time: str
    commit: str
    run: str
    outcome: str
    facts: Facts
    values: Mapping[str, Estimate]


@dataclass(frozen=True)
class Span:
    """The points of a series with equal facts, as indices into `Series.points`.

    `changes` lists differences from the span before.
    """

    facts: Facts
    changes: tuple[str, ...]
    places: tuple[int, ...]

    @cached_property
    def environment(self) -> str:
        """Eight hex digits over the facts, the name of a span in expectations."""
        return digest(self.facts)[:8]


@dataclass(frozen=True)
class Series:
    """The points of a cell, oldest first."""

    cell: CellRecord
    points: tuple[Point, ...]

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """One span per environment, in order of first points.

        Two alternating machines make two spans, not a new span at every alternation.
        """
        places: dict[Facts, list[int]] = {}
        for place, point in enumerate(self.points):
            places.setdefault(point.facts, []).append(place)
        known = list(places)
        before = [None, *known]
        return tuple(
            Span(
                facts,
                tuple(changes(earlier, facts)) if earlier is not None else (),
                tuple(places[facts]),
            )
            for earlier, facts in zip(before, known, strict=False)
        )

    def measured(self, span: Span, metric: str) -> list[int]:
        """The indices of a span's points that have the metric."""
        return [place for place in span.places if metric in self.points[place].values]


@dataclass
class Gathering:
    """Collects records one at a time and keeps points only, so a thousand runs fit into memory."""

    _cells: dict[str, CellRecord] = field(default_factory=dict)
    _points: dict[str, list[Point]] = field(default_factory=dict)
    _facts: dict[Facts, Facts] = field(default_factory=dict)
    _texts: dict[str, str] = field(default_factory=dict)

    def add(self, record: OutcomeRecord) -> None:
        """Add a well-formed record; the later of two records of a cell in a run counts.

        A cell of another commit (`evenbench run --against`) is no point of this commit.
        """
        cell = record["cell"]
        if cell.get("side"):
            return
        point = self._point(record, str(cell.get("device") or "cpu"))
        points = self._points.setdefault(cell["key"], [])
        if points and point.run and points[-1].run == point.run:
            points.pop()
        points.append(point)
        self._cells[cell["key"]] = cell

    def series(self, order: Mapping[str, int] | None = None) -> list[Series]:
        """The series of all added records, by cell id. `order` maps commits to positions in the
        project's history.

        Points of a cell are in commit order if all commits are known, so an older commit measured
        later, or under a wrong clock, keeps its place; otherwise in order of time.
        """
        all_series = [
            Series(self._cells[key], _ordered(points, order or {}))
            for key, points in self._points.items()
        ]
        return sorted(all_series, key=lambda series: (series.cell["id"], series.cell["key"]))

    def _point(self, record: OutcomeRecord, device: str) -> Point:
        environment, run = record.get("environment"), record.get("run")
        known = facts(environment, device)
        return Point(
            self._shared(record["time"]),
            self._shared(environment.get("commit") if environment else ""),
            self._shared(run.get("id") if run else ""),
            self._shared(record["outcome"]),
            self._facts.setdefault(known, known),
            values(record),
        )

    def _shared(self, text: str | None) -> str:
        """A shared object per text, because points repeat commits, runs and outcomes."""
        return self._texts.setdefault(str(text or ""), str(text or ""))


def _ordered(points: Sequence[Point], order: Mapping[str, int]) -> tuple[Point, ...]:
    known = all(point.commit in order for point in points)
    return tuple(
        sorted(points, key=lambda point: (order[point.commit] if known else 0, point.time))
    )


def values(record: OutcomeRecord) -> dict[str, Estimate]:
    """The available metrics of a record: an error but no latency for a mismatch, nothing for other
    outcomes without a measurement.
    """
    levels: dict[str, Estimate | None] = {}
    if record["outcome"] == "ok":
        memory, artifact = record.get("memory"), record.get("artifact")
        levels[LATENCY] = ratios.level(interleaving.sweeps_of(record, COMPUTE))
        levels[MEMORY] = _level((memory.get("peak_rss_bytes") if memory else None) or [])
        levels[ARTIFACT] = _level([(artifact.get("bytes") if artifact else 0) or 0])
    if record["outcome"] in ("ok", "mismatch"):
        parity = record.get("parity")
        needed = parity.get("needed") if parity else None
        levels[ERROR] = None if needed is None else _level([max(float(needed), ERROR_FLOOR)])
    return {metric: known for metric in METRICS if (known := levels.get(metric))}


def _level(measured: Sequence[float]) -> Estimate | None:
    # Zero bytes or nanoseconds means an unreadable value; an infinite error has no place on an
    # axis.
    usable = measured and min(measured) > 0 and all(map(math.isfinite, measured))
    if usable and len(measured) == 1:
        return Estimate(float(measured[0]), None, None, 1)  # a size stays exact, to the byte
    return level(measured) if usable else None
