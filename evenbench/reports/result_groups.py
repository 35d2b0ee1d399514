"""Records with estimates, and groups of comparable results: one run, one `cell.group`.

All numbers of a report are computed here and in `run_verdicts`, with `harness.statistics`. Rules of
comparison: a speed-up stays within one run, one group and one boundary, is formed within the rounds
of a sweep, and only a correct result of a real runtime is ranked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from evenbench.harness.core.types import COMPUTE, HOST_TO_HOST, PRECISIONS
from evenbench.harness.results import interleaving, processes_apart
from evenbench.harness.results.processes_apart import Apart
from evenbench.harness.statistics import estimates
from evenbench.harness.statistics.estimates import Estimate
from evenbench.harness.statistics.group_verdicts import Comparison
from evenbench.harness.statistics.ratios import Sweeps
from evenbench.reports import formatting, run_verdicts
from evenbench.reports.run_verdicts import RunVerdicts

BASELINE = "torch-eager"
"""The backend under every speed-up."""

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
    def group(self) -> str:
        """The name of the group of comparable cells, unique within a run."""
        return str(self.cell.get("group", ""))

    @cached_property
    def cell(self) -> Record:
        """The identity of the cell, as recorded."""
        return self.record.get("cell") or {}

    @cached_property
    def name(self) -> str:
        """The backend with its options, unique within a group."""
        options = self.cell.get("options") or {}
        return " ".join(
            [
                str(self.cell.get("backend", "")),
                *(f"{key}={value}" for key, value in options.items()),
            ]
        )

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
        recorded = {
            "import": self.record.get("import_seconds"),
            **(self.record.get("phases_seconds") or {}),
        }
        known = {
            phase: [seconds for seconds in processes or [] if seconds is not None]
            for phase, processes in recorded.items()
        }
        return {phase: estimates.median(values) for phase, values in known.items() if values}

    @cached_property
    def limit(self) -> Record:
        """The recorded least possible time of the cell, with its sources; empty without a
        record."""
        return self.record.get("limit") or {}

    @cached_property
    def of_limit(self) -> float | None:
        """The least possible time over the time of `compute`; 1 is the limit of the machine.

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


@dataclass(frozen=True, eq=False)
class Group:
    """Comparable results: the same run, model, precision, device, batch and threads."""

    run: str
    name: str
    results: tuple[Result, ...]

    @cached_property
    def ranked(self) -> tuple[Result, ...]:
        """Correct results of real runtimes, fastest first by their ratios."""
        return self._judged.in_order(self.results)

    @property
    def _judged(self) -> RunVerdicts:
        return self.results[0].judged

    @cached_property
    def unranked(self) -> tuple[Result, ...]:
        """All other results, in recorded order: wrong, missing, failed, and controls."""
        return tuple(result for result in self.results if not result.ranks)

    @cached_property
    def baseline(self) -> Result | None:
        """The correct torch eager result with the fewest options; None without one."""
        eager = [result for result in self.ranked if result.cell.get("backend") == BASELINE]
        return min(eager, key=lambda result: len(result.cell.get("options") or {}), default=None)

    @cached_property
    def asks_baseline(self) -> bool:
        """Whether torch eager was requested, whatever its outcome.

        Cells of steps around a network, for example, have no baseline.
        """
        return any(result.cell.get("backend") == BASELINE for result in self.results)

    def speedup(self, result: Result) -> Estimate | None:
        """Return the speed-up of `result` over the baseline; None if unranked, or without
        baseline."""
        if self.baseline is None or not result.ranks:
            return None
        if id(result) not in self._speedups:
            self._speedups[id(result)] = ratio(self.baseline, result)
        return self._speedups[id(result)]

    @cached_property
    def _speedups(self) -> dict[int, Estimate | None]:
        return {}

    def comparison(self, slower: Result, faster: Result) -> Comparison:
        """Return the corrected comparison of two ranked results: whether `faster` is faster."""
        return self._judged.comparison(slower, faster)

    @cached_property
    def fastest(self) -> tuple[Result, ...]:
        """Ranked results, each possibly the fastest, in order.

        Several results without a corrected difference; the first alone without intervals.
        """
        judged = [
            result
            for result in self._judged.fastest(self.results)
            if result is self.ranked[0] or has_interval(ratio(result, self.ranked[0]))
        ]
        return tuple(judged) or self.ranked[:1]

    @property
    def first(self) -> Record:
        """The cell of the first member, for values shared by all members."""
        return self.results[0].cell


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


def groups(members: Iterable[Result]) -> list[Group]:
    """Return groups by run and `cell.group`, sorted by model, precision, device, batch and
    threads."""
    by_group: dict[tuple[str, str], list[Result]] = {}
    for result in members:
        by_group.setdefault((result.run, result.group), []).append(result)
    listed = [Group(run, name, tuple(members)) for (run, name), members in by_group.items()]
    return sorted(listed, key=_group_order)


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


def _group_order(group: Group) -> tuple[Any, ...]:
    cell = group.first
    precision = str(cell.get("precision", ""))
    rank = PRECISIONS.index(precision) if precision in PRECISIONS else len(PRECISIONS)
    return (
        str(cell.get("model", "")).casefold(),
        rank,
        str(cell.get("device", "")),
        int(cell.get("batch") or 0),
        int(cell.get("threads") or 0),
        group.run,
    )
