"""Recorded outcomes over time: a series per cell, split where the environment changed. Pure:
records in, values out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from harness.core.serialization import digest
from harness.core.types import COMPUTE
from harness.statistics.estimates import Estimate, level, process_values

LATENCY, ERROR, MEMORY, ARTIFACT = "latency", "error", "memory", "artifact"
METRICS = (LATENCY, ERROR, MEMORY, ARTIFACT)
"""Nanoseconds of `compute`; the tolerance that the answer needs over the one it is allowed; bytes
at the peak; bytes. Larger is worse.
"""

ERROR_FLOOR = 0.01
"""An error below this share of what is allowed counts as this much: of 1e-9 and 2e-9, neither is
worse.
"""

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
"""The facts of an environment in which the points of one span agree; GPUs and the packages of the
cell's backend are added.
"""

Facts = tuple[tuple[str, str], ...]
"""What a span's points share: names and values, sorted."""


def facts(environment: Mapping[str, Any], device: str = "cpu") -> Facts:
    """What of a recorded environment may change a number: the machine, the interpreter, and every
    package but evenbench itself.
    """
    found = {name: _words(environment.get(name)) for name in MACHINE}
    if device != "cpu":
        found["gpus"] = ", ".join(
            f"{gpu.get('name')} driver {gpu.get('driver')}" for gpu in environment.get("gpus") or []
        )
    packages = environment.get("packages") or {}
    return tuple(
        sorted(
            {
                **found,
                **{name: str(version) for name, version in packages.items() if name != "evenbench"},
            }.items()
        )
    )


def changes(one: Facts, other: Facts) -> list[str]:
    """In words, what differs: `onnxruntime 1.24.1 → 1.31.1`."""
    before, after = dict(one), dict(other)
    names = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    return [
        f"{name} {before.get(name) or 'absent'} → {after.get(name) or 'absent'}" for name in names
    ]


def _words(value: object) -> str:
    return (
        " ".join(map(str, value))
        if isinstance(value, list)
        else ""
        if value is None
        else str(value)
    )


@dataclass(frozen=True, slots=True)
class Point:
    """One outcome, without its laps. `values` has those metrics that it can state."""

    time: str
    commit: str
    run: str
    outcome: str
    facts: Facts
    values: Mapping[str, Estimate]


@dataclass(frozen=True)
class Span:
    """The points of a series that share an environment, as places in `Series.points`; `changes`
    tells it from the span before.
    """

    facts: Facts
    changes: tuple[str, ...]
    places: tuple[int, ...]

    @cached_property
    def environment(self) -> str:
        """Eight hex digits over the facts, by which an expectation names it."""
        return digest(self.facts)[:8]


@dataclass(frozen=True)
class Series:
    """One cell over time, oldest point first."""

    cell: Mapping[str, Any]
    points: tuple[Point, ...]

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """One span per environment, in order of their first points.

        Two machines that take turns are two spans, each whole, and not a new one at every turn.
        """
        places: dict[Facts, list[int]] = {}
        for place, point in enumerate(self.points):
            places.setdefault(point.facts, []).append(place)
        known = list(places)
        before = [None, *known]
        return tuple(
            Span(
                each,
                tuple(changes(earlier, each)) if earlier is not None else (),
                tuple(places[each]),
            )
            for earlier, each in zip(before, known, strict=False)
        )

    def measured(self, span: Span, metric: str) -> list[int]:
        """The places of a span whose points state the metric."""
        return [place for place in span.places if metric in self.points[place].values]


@dataclass
class Gathering:
    """Takes records one at a time and keeps of each what a history needs, so that a thousand runs
    fit into memory.
    """

    _cells: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _points: dict[str, list[Point]] = field(default_factory=dict)
    _facts: dict[Facts, Facts] = field(default_factory=dict)
    _texts: dict[str, str] = field(default_factory=dict)

    def add(self, record: Mapping[str, Any]) -> None:
        """One well-formed record. Of two for one cell in one run the later counts, as everywhere."""
        cell = record["cell"]
        made = self._point(record, str(cell.get("device") or "cpu"))
        points = self._points.setdefault(cell["key"], [])
        if points and made.run and points[-1].run == made.run:
            points.pop()
        points.append(made)
        self._cells[cell["key"]] = cell

    def series(self, order: Mapping[str, int] | None = None) -> list[Series]:
        """Everything that was added, cells by their id. `order` has the places of commits in the
        project's own history.

        A cell's points are in the order of their commits where all of these are known, so that an
        older commit that was measured later, or by a clock that had gone backwards, stands where it
        belongs; otherwise in the order of their times.
        """
        found = [
            Series(self._cells[key], _ordered(points, order or {}))
            for key, points in self._points.items()
        ]
        return sorted(found, key=lambda series: (series.cell["id"], series.cell["key"]))

    def _point(self, record: Mapping[str, Any], device: str) -> Point:
        environment = record.get("environment") or {}
        found = facts(environment, device)
        texts = [
            self._shared(text)
            for text in (
                record["time"],
                environment.get("commit"),
                (record.get("run") or {}).get("id"),
            )
        ]
        time, commit, run = texts
        return Point(
            time,
            commit,
            run,
            self._shared(record["outcome"]),
            self._facts.setdefault(found, found),
            values(record),
        )

    def _shared(self, text: Any) -> str:
        return self._texts.setdefault(str(text or ""), str(text or ""))


def _ordered(points: Sequence[Point], order: Mapping[str, int]) -> tuple[Point, ...]:
    known = all(point.commit in order for point in points)
    return tuple(
        sorted(points, key=lambda point: (order[point.commit] if known else 0, point.time))
    )


def values(record: Mapping[str, Any]) -> dict[str, Estimate]:
    """Each metric that a record can state. A wrong answer has an error and no speed, and what did
    not run has nothing.
    """
    outcome = record["outcome"]
    found: dict[str, Estimate | None] = {}
    if outcome == "ok":
        found[LATENCY] = _level(process_values((record.get("samples_ns") or {}).get(COMPUTE) or []))
        found[MEMORY] = _level((record.get("memory") or {}).get("peak_rss_bytes") or [])
        found[ARTIFACT] = _level([(record.get("artifact") or {}).get("bytes") or 0])
    if outcome in ("ok", "mismatch"):
        needed = (record.get("parity") or {}).get("needed")
        found[ERROR] = None if needed is None else _level([max(float(needed), ERROR_FLOOR)])
    return {metric: found[metric] for metric in METRICS if found.get(metric)}  # type: ignore[misc]


def _level(measured: Sequence[float]) -> Estimate | None:
    # Zero bytes or nanoseconds is what could not be read, not a level; an endless error has no
    # place on an axis.
    usable = measured and min(measured) > 0 and all(map(math.isfinite, measured))
    if usable and len(measured) == 1:
        return Estimate(
            float(measured[0]), None, None, 1
        )  # a size stays the size it is, to the byte
    return level(measured) if usable else None
