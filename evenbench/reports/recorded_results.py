"""Records with estimates: levels, sweeps, percentiles and phases of a recorded cell.

All numbers of a report are computed here, in `result_groups` and in `run_verdicts`, with
`harness.statistics`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from evenbench.harness.core.types import COMPUTE, HOST_TO_HOST
from evenbench.harness.results import interleaving, processes_apart
from evenbench.harness.results.processes_apart import Apart
from evenbench.harness.statistics import estimates
from evenbench.harness.statistics.estimates import Estimate
from evenbench.harness.statistics.ratios import Sweeps
from evenbench.reports import formatting, input_shapes, machine_state, phase_seconds, run_verdicts
from evenbench.reports.run_verdicts import RunVerdicts

Record = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Result:
    """A record with the level of each boundary.

    `judged` is shared by all results of a run. `compute` and `host_to_host` are robust levels;
    `compute_ns` holds the median lap of each process, in sweep order.
    """

    record: Record
    judged: RunVerdicts
    sweeps: Sweeps
    host_sweeps: Sweeps
    compute: Estimate | None
    host_to_host: Estimate | None
    compute_ns: tuple[float, ...]

    def sweeps_of(self, boundary: str) -> Sweeps:
        """Return sweep → round → time of a block in nanoseconds; without blocks of 0 ns."""
        return self.sweeps if boundary == COMPUTE else self.host_sweeps

    @cached_property
    def apart(self) -> list[Apart]:
        """Processes far from the other processes of the cell, with reasons."""
        return processes_apart.of_line(self.record) if len(self.sweeps) > 2 else []

    @cached_property
    def busy_cores(self) -> float:
        """Cores used by other processes while laps were timed, if threads had to wait."""
        return machine_state.busy_cores(self.record)

    @cached_property
    def group(self) -> str:
        """The name of the group of comparable cells, unique within a run."""
        return input_shapes.group_of(self.cell)

    @cached_property
    def cell(self) -> Record:
        """The identity of the cell, as recorded."""
        return self.record.get("cell") or {}

    @cached_property
    def name(self) -> str:
        """The backend with its options and side, unique within a group: `ort at main:1a2b3c4d`."""
        cell = self.cell
        options = [f"{key}={value}" for key, value in (cell.get("options") or {}).items()]
        side = [f"at {cell['side']}"] if cell.get("side") else []
        return " ".join([str(cell.get("backend", "")), *options, *side])

    @cached_property
    def outcome(self) -> str:
        """`ok`, or the kind of failure."""
        return str(self.record.get("outcome") or "failed")

    @cached_property
    def run(self) -> str:
        """The id of the run."""
        return str((self.record.get("run") or {}).get("id", ""))

    @cached_property
    def is_control(self) -> bool:
        """Whether the result is a control (null backend, golden), not deployable."""
        return str(self.record.get("role") or "runtime") != "runtime"

    @cached_property
    def is_emulated(self) -> bool:
        """Whether the arithmetic ran in another precision than the cell's."""
        return "emulated" in (self.record.get("labels") or ())

    @cached_property
    def ranks(self) -> bool:
        """Whether the result may be ranked: a correct output of a real runtime, with a time."""
        return self.outcome == "ok" and not self.is_control and self.compute is not None

    def seconds(self, phase: str) -> float | None:
        """Return the median over processes of a phase (or `import`) in seconds; None if never
        run."""
        return self._seconds.get(phase)

    @cached_property
    def cold_start_seconds(self) -> float | None:
        """The cold start of a fresh process: import, load, compile and first step."""
        parts = {
            phase: self.seconds(phase) for phase in ("import", "load", "compile", "first_step")
        }
        known = [seconds for seconds in parts.values() if seconds is not None]
        return None if parts["load"] is None or parts["first_step"] is None else sum(known)

    @cached_property
    def _seconds(self) -> dict[str, float]:
        return phase_seconds.medians(self.record)

    @cached_property
    def limit(self) -> Record:
        """The recorded least possible time of the cell, with its sources; empty without a
        record."""
        return self.record.get("limit") or {}

    @cached_property
    def of_limit(self) -> float | None:
        """The least possible time over the time of `compute`; 1 is the usual bound of the machine.

        None without a limit, a time, or a judged time.
        """
        least: float | None = self.limit.get("least_seconds")
        if least is None or self.compute is None or not formatting.judged(self.compute):
            return None
        return least * 1e9 / self.compute.value

    def percentile(self, boundary: str, q: float) -> float | None:
        """Return the q-quantile over all laps in nanoseconds.

        None if the number of laps does not support the quantile.
        """
        laps = self._sorted.get(boundary)
        if laps is None:  # sort once for three percentiles in several places
            laps = self._sorted[boundary] = sorted(
                lap for process in laps_of(self.record, boundary) for lap in process
            )
        return estimates.supported_quantile(laps, q) if laps else None

    @cached_property
    def _sorted(self) -> dict[str, list[int]]:
        return {}


def ratio(slower: Result, faster: Result, boundary: str = COMPUTE) -> Estimate | None:
    """Return how many times faster `faster` is within a boundary; None without a time, or for
    results of different runs.

    Pairs the rounds of common sweeps; without a common sweep, processes in their order.
    """
    if slower.run != faster.run:
        return None
    known = slower.judged.ratio(slower, faster, boundary)
    return run_verdicts.estimate(known, slower.sweeps_of(boundary), faster.sweeps_of(boundary))


def has_interval(estimate: Estimate | None) -> bool:
    """Return whether an estimate is of several processes."""
    return estimate is not None and estimate.processes > 1


def results(lines: Iterable[Record]) -> list[Result]:
    """Return a result per record, in order."""
    runs: dict[str, RunVerdicts] = {}
    listed = []
    for line in lines:
        run = str((line.get("run") or {}).get("id", ""))
        result = _result(line, runs.setdefault(run, RunVerdicts()))
        result.judged.add(result)
        listed.append(result)
    return listed


def laps_of(record: Record, boundary: str) -> list[list[int]]:
    """Return the raw laps of a boundary in nanoseconds, a list per process with laps."""
    return [process for process in (record.get("samples_ns") or {}).get(boundary) or [] if process]


def _result(record: Record, judged: RunVerdicts) -> Result:
    sweeps, host_sweeps = (
        interleaving.sweeps_of(record, boundary) for boundary in (COMPUTE, HOST_TO_HOST)
    )
    levels = run_verdicts.level(sweeps), run_verdicts.level(host_sweeps)
    medians = (
        estimates.process_values(laps_of(record, COMPUTE))
        if record.get("interleaving")
        else [times[0] for times in sweeps.values()]
    )
    return Result(record, judged, sweeps, host_sweeps, *levels, tuple(medians))
