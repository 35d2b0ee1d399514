"""An airspeed velocity class per `Case`: the case's axes as params, with five metrics.

asv runs every method for every square in a separate process. The first process measures all squares
of a comparison, interleaved, into a folder kept by asv for an environment and commit; later
processes read the folder. asv's samples are process medians, so asv's intervals and tests are over
processes.
"""

from __future__ import annotations

import dataclasses
import math
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from evenbench.harness.collection import discovery
from evenbench.harness.core.cases import Case, Entry
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import PLANS, Plan
from evenbench.harness.core.types import BOUNDARIES, Cell
from evenbench.harness.environment import cpu
from evenbench.harness.results import records
from evenbench.harness.results.records import Record
from evenbench.harness.runner.schedule import Run
from evenbench.harness.statistics.estimates import process_values

VERSION = "1"
"""Raised when a metric changes its meaning. asv then drops a benchmark's history."""

PROCESSES = 8
"""Fewest samples for a finite interval of the median and a rejecting U test in asv."""

PLAN = "EVENBENCH_ASV_PLAN"
"""The plan, with at least `PROCESSES` processes (default: `default`)."""

RESULTS = "EVENBENCH_ASV_RESULTS"
"""A folder for full result lines with all laps. By default, asv removes these lines."""

TIMEOUT_SECONDS = 7200.0

AXES = ("model", "backend", "precision", "device", "batch", "threads")
"""Names of the params, in order; `options` follows for cases with options."""

Square = tuple[str, ...]
Metric = Callable[[Record], Any]


def suites(folder: Path, module: str) -> dict[str, type[Suite]]:
    """A class for every case under `folder`, by name, for the namespace of `module` in `folder`.

    Use as `globals().update(asv_bridge.suites(Path(__file__).parent, __name__))`.
    """
    folder = folder.resolve()
    # asv imports the folder without having its parent on sys.path; workers need it to find the
    # models. Last, so that what is installed for the commit comes before what is checked out.
    if str(folder.parent) not in sys.path:
        sys.path.append(str(folder.parent))
    declarations = {
        _name(declaration, folder): declaration for declaration in discovery.find([str(folder)])
    }
    return {name: suite(name, declaration, module) for name, declaration in declarations.items()}


def _name(declaration: discovery.Declaration, folder: Path) -> str:
    """`classification_latency` for `latency` in `bench_classification.py`."""
    parts = [*declaration.file.relative_to(folder).with_suffix("").parts]
    return "_".join([*parts[:-1], parts[-1].removeprefix("bench_"), declaration.name])


class Suite:
    """The base of all generated classes, with asv's attributes. `squares` maps params to cells."""

    version: ClassVar[str] = VERSION
    timeout: ClassVar[float] = TIMEOUT_SECONDS
    param_names: ClassVar[list[str]]
    params: ClassVar[list[list[str]]]
    squares: ClassVar[Mapping[Square, Entry]]
    line: Record

    def setup_cache(self) -> str:
        """The folder of this environment and commit.

        asv runs this method once for all classes, in a temporary folder.
        """
        kept = os.environ.get(RESULTS)
        parent = records.folder(Path(kept)) if kept else Path.cwd()
        return tempfile.mkdtemp(prefix="asv-", dir=parent.resolve())

    def setup(self, folder: str, *square: str) -> None:
        """Read the square's outcome, measured on demand. NotImplementedError is asv's `n/a`."""
        if square not in self.squares:
            raise NotImplementedError(f"{'-'.join(square)} is not in the case's matrix")
        entry = self.squares[square]
        group = [other for other in self.squares.values() if other.cell.group == entry.cell.group]
        self.line = line_of(entry, group, Path(folder))
        outcome, reason = self.line["outcome"], self.line["reason"]
        if outcome in ("unsupported", "unavailable"):
            raise NotImplementedError(f"{outcome}: {reason}")
        if outcome != "ok":
            raise RuntimeError(
                f"{outcome} in {self.line['phase']}: {reason}\n{self.line['traceback']}"
            )


def suite(name: str, declaration: discovery.Declaration, module: str) -> type[Suite]:
    """The class of a case. asv looks the class up as `name` in `module`."""
    entries = discovery.entries(
        [declaration], f"evenbench run {declaration.id.rpartition('::')[0]}"
    )
    squares = {square(entry.cell, declaration.case): entry for entry in entries}
    names = [*AXES, "options"] if declaration.case.options else [*AXES]
    axes = [list(dict.fromkeys(values)) for values in zip(*squares, strict=True)]
    body = {
        "__module__": module,
        "__qualname__": name,
        "squares": squares,
        "param_names": names,
        "params": axes,
    }
    return type(name, (Suite,), body | {metric: _method(name, metric) for metric in METRICS})


def square(cell: Cell, case: Case) -> Square:
    """A cell as asv's params. Threads are named as declared, for one series on all machines."""
    threads = {value or cpu.cores(): str(value or "all") for value in reversed(case.threads)}
    params = (
        cell.model.name,
        cell.backend,
        cell.precision,
        cell.device,
        str(cell.batch),
        threads[cell.threads],
    )
    options = ",".join(f"{key}={value}" for key, value in cell.options) or "none"
    return (*params, options) if case.options else params


def _method(name: str, metric: str) -> Callable[..., Any]:
    unit, read = METRICS[metric]

    def track(self: Suite, folder: str, *square: str) -> Any:
        return read(self.line)

    track.__name__ = metric
    track.__qualname__ = f"{name}.{metric}"
    vars(track).update(
        unit=unit, pretty_name=f"{name} {metric.removeprefix('track_').replace('_', ' ')}"
    )
    return track


def _latency(boundary: str) -> Metric:
    return lambda line: _samples(
        [value / 1e9 for value in process_values(line["samples_ns"][boundary])]
    )


def _peak_memory(line: Record) -> dict[str, Any]:
    return _samples(line["memory"]["peak_rss_bytes"])


def _parity_error(line: Record) -> float:
    """The needed share of the tolerance; `n/a` in asv for controls, which have no output."""
    return float(line["parity"]["needed"]) if line["parity"] else math.nan


def _artifact_size(line: Record) -> int:
    return int(line["artifact"]["bytes"])


def _samples(values: list[float]) -> dict[str, Any]:
    """A value per process, in asv's form for statistics."""
    return {"samples": values, "number": 1}


METRICS: Mapping[str, tuple[str, Metric]] = {
    **{f"track_latency_{boundary}": ("seconds", _latency(boundary)) for boundary in BOUNDARIES},
    "track_peak_memory": ("bytes", _peak_memory),
    "track_parity_error": ("needed/allowed", _parity_error),
    "track_artifact_size": ("bytes", _artifact_size),
}
"""Metrics by method name, with units. Lower is better for all, as asv requires."""


def line_of(entry: Entry, group: Sequence[Entry], folder: Path) -> Record:
    """The outcome of a cell from the lines in `folder`, measured on demand.

    All of `group` is measured together: compared cells take turns, so slow drift of the machine is
    no bias.
    """
    known = {line["cell"]["key"]: line for line in records.read([folder]).lines}
    if entry.cell.key in known:
        return known[entry.cell.key]
    waiting = [other for other in group if other.cell.key not in known]
    run = Run(waiting, plan(), folder)
    measured = dict(zip((other.cell.key for other in waiting), run.measure(waiting), strict=True))
    run.finish()
    return measured[entry.cell.key]


def plan() -> Plan:
    """The plan for asv. Raises UsageError for an unknown plan in the variable."""
    name = os.environ.get(PLAN, "default")
    if name not in PLANS:
        raise UsageError(f"{PLAN}={name!r} is no plan; expected one of {', '.join(PLANS)}")
    # asv has no metric of the limit, and every comparison is a run of its own, which would measure
    # the peaks again. A fixed number of processes gives all points of a series the same weight.
    return dataclasses.replace(
        PLANS[name],
        processes=max(PROCESSES, PLANS[name].processes),
        most_processes=0,
        half_width=math.inf,
        peak_seconds=0.0,
    )


__all__ = ["Suite", "line_of", "plan", "suite", "suites"]
