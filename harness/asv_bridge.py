"""Gives airspeed velocity one class per `Case`: the case's axes as params, and five metrics out of
one measurement.

asv runs every method for every square in a process of its own. Whichever comes first measures all
squares that are compared with this one, interleaved, into a folder that asv keeps for one
environment and commit; the others read it there. What asv gets as samples is one median per
process, so that its intervals and tests are over processes.
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

from harness.collection import discovery
from harness.core.cases import Case, Entry
from harness.core.errors import UsageError
from harness.core.plans import PLANS, Plan
from harness.core.types import BOUNDARIES, Cell
from harness.environment import cpu
from harness.results import records
from harness.results.records import Record
from harness.runner.schedule import Run
from harness.statistics.estimates import process_values

VERSION = "1"
"""asv drops a benchmark's history when this changes; raised when a metric changes its meaning."""

PROCESSES = 8
"""The least number of samples with which asv's interval of the median is finite and its U test can
reject.
"""

PLAN = "EVENBENCH_ASV_PLAN"
"""The plan that is measured under, with at least `PROCESSES` processes; `default` where it is not
set.
"""

RESULTS = "EVENBENCH_ASV_RESULTS"
"""A folder in which the full result lines, with every lap, are kept; without it asv removes them
when it is done.
"""

TIMEOUT_SECONDS = 7200.0

AXES = ("model", "backend", "precision", "device", "batch", "threads")
"""The names of the params, in order; `options` follows where a case sets any."""

Square = tuple[str, ...]
Metric = Callable[[Record], Any]


def suites(folder: Path, module: str) -> dict[str, type[Suite]]:
    """A class for every case declared under `folder`, by name, for the namespace of `module`, which
    must lie in `folder`.

    Use as `globals().update(asv_bridge.suites(Path(__file__).parent, __name__))`.
    """
    folder = folder.resolve()
    # asv imports the folder without having its parent on sys.path; workers need it to find the
    # models. Last, so that what is installed for the commit comes before what is checked out.
    if str(folder.parent) not in sys.path:
        sys.path.append(str(folder.parent))
    found = {
        _name(declaration, folder): declaration for declaration in discovery.find([str(folder)])
    }
    return {name: suite(name, declaration, module) for name, declaration in found.items()}


def _name(declaration: discovery.Declaration, folder: Path) -> str:
    """`classification_latency` for `latency` in `bench_classification.py`."""
    parts = [*declaration.file.relative_to(folder).with_suffix("").parts]
    return "_".join([*parts[:-1], parts[-1].removeprefix("bench_"), declaration.name])


class Suite:
    """What all generated classes share. asv reads the attributes; `squares` maps params to what
    they name.
    """

    version: ClassVar[str] = VERSION
    timeout: ClassVar[float] = TIMEOUT_SECONDS
    param_names: ClassVar[list[str]]
    params: ClassVar[list[list[str]]]
    squares: ClassVar[Mapping[Square, Entry]]
    line: Record

    def setup_cache(self) -> str:
        """The folder of this environment and commit. asv runs this once for all classes, in a
        folder that it removes.
        """
        kept = os.environ.get(RESULTS)
        parent = records.folder(Path(kept)) if kept else Path.cwd()
        return tempfile.mkdtemp(prefix="asv-", dir=parent.resolve())

    def setup(self, folder: str, *square: str) -> None:
        """Read the square's outcome, measuring it where that was not done yet. NotImplementedError
        is asv's `n/a`.
        """
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
    """The class of one case. `name` must be the attribute under which `module` publishes it: asv
    looks it up by that.
    """
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
    """A cell as asv's params. Threads are named as declared, so that a series does not split by the
    machine's cores.
    """
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
    """Share of the tolerance that was needed; a control has no answer, which asv shows as `n/a`."""
    return float(line["parity"]["needed"]) if line["parity"] else math.nan


def _artifact_size(line: Record) -> int:
    return int(line["artifact"]["bytes"])


def _samples(values: list[float]) -> dict[str, Any]:
    """One value per process, in the form in which asv computes its statistics itself."""
    return {"samples": values, "number": 1}


METRICS: Mapping[str, tuple[str, Metric]] = {
    **{f"track_latency_{boundary}": ("seconds", _latency(boundary)) for boundary in BOUNDARIES},
    "track_peak_memory": ("bytes", _peak_memory),
    "track_parity_error": ("needed/allowed", _parity_error),
    "track_artifact_size": ("bytes", _artifact_size),
}
"""Every metric by its method's name, with its unit; lower is better in all of them, as asv takes
for granted.
"""


def line_of(entry: Entry, group: Sequence[Entry], folder: Path) -> Record:
    """The outcome of a cell from the lines in `folder`.

    Where it is not there yet, all of `group` is measured together: processes of cells that are
    compared with one another take turns, so that a slow drift of the machine is no bias between
    them.
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
    """The plan for asv. Raises UsageError where the variable names none."""
    name = os.environ.get(PLAN, "default")
    if name not in PLANS:
        raise UsageError(f"{PLAN}={name!r} is no plan; expected one of {', '.join(PLANS)}")
    # asv has no metric of the limit, and every comparison is a run of its own, which would measure
    # the peaks again.
    return dataclasses.replace(
        PLANS[name], processes=max(PROCESSES, PLANS[name].processes), peak_seconds=0.0
    )


__all__ = ["Suite", "line_of", "plan", "suite", "suites"]
