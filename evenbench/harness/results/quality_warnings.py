"""Warnings about the quality of a measurement, as values: an observation and a remedy.

A remedy already applied is not repeated: the plan in use, or the current governor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from evenbench.harness.core import clock_tick, quantities, thresholds
from evenbench.harness.core.plans import PLANS
from evenbench.harness.core.records.outcome import OutcomeRecord
from evenbench.harness.core.records.sampling import BlockRecord
from evenbench.harness.core.types import COMPUTE
from evenbench.harness.results import advice, lap_findings, processes_apart
from evenbench.harness.statistics import estimates, stationarity

NAMED = 3
"""The number of cells named in a warning about a run."""


@dataclass(frozen=True)
class Warning:
    """An observation (`what`) and its remedy (`do`)."""

    what: str
    do: str

    def __str__(self) -> str:
        return f"{self.what}; {self.do}"


def about(line: OutcomeRecord) -> list[Warning]:
    """Every warning about an outcome, in a fixed order."""
    rules = (
        *(_stability, _laps, _threads, _contention, _steal, _pressure, _slowed),
        *(_memory_pressure, _processes, _warm_up, apart),
    )
    return [warning for rule in rules for warning in rule(line)]


def about_run(lines: Sequence[OutcomeRecord]) -> list[Warning]:
    """Every warning about a run as a whole, in a fixed order."""
    timed = [
        line
        for line in lines
        if line.get("outcome") == "ok" and line.get("role", "runtime") == "runtime"
    ]
    return [
        *_clocks(timed),
        *_drift(timed),
        *_modes(timed),
        *_counted(timed, apart, "a process stands apart"),
        *_counted(timed, _contention, "contended"),
        *_counted(timed, _steal, "slowed by CPU steal"),
        *_counted(timed, _pressure, "measured under CPU pressure"),
    ]


# -- of a cell -------------------------------------------------------------------------------------


def _stability(line: OutcomeRecord) -> Iterator[Warning]:
    for boundary, verdicts in line["stability"].items():
        capped, unstable = verdicts.count("capped"), verdicts.count("unstable")
        processes = f"of {quantities.count(len(verdicts), 'process', 'processes')}"
        if capped:
            yield Warning(
                f"{boundary}: time ran out before the minimum of laps in {capped} {processes}",
                advice.larger(
                    line,
                    f"up to {advice.THOROUGH.max_seconds:g} s of laps per process",
                    "laps this long have a level, but no percentiles",
                ),
            )
        if unstable:
            yield Warning(
                f"{boundary}: laps never settled in {unstable} {processes}", advice.steadier(line)
            )


def _laps(line: OutcomeRecord) -> Iterator[Warning]:
    for what in lap_findings.falling(line):
        yield Warning(
            what,
            advice.larger(
                line, "laps are more per process", "the level is that of a runtime still warming up"
            ),
        )
    for what in () if any(_contention(line)) else lap_findings.unused_threads(line):
        yield Warning(what, "compare with --threads 1: is the work shared, or the number ignored?")


def _threads(line: OutcomeRecord) -> Iterator[Warning]:
    cell, environment = line.get("cell"), line.get("environment")
    threads = cell.get("threads", 0) if cell else 0
    cores = environment.get("cores", 0) if environment else 0
    if cores and threads > cores:
        yield Warning(
            f"{threads} threads share {cores} usable cores",
            f"use {cores} or fewer, unless oversubscription is what you measure",
        )


def foreign_cores(line: OutcomeRecord) -> float | None:
    """The cores used by other processes while laps were timed; None without blocks."""
    blocks = _blocks(line)
    wall = sum(block["wall_ns"] for block in blocks)
    others = sum(block["machine_cpu_ns"] - block["cpu_ns"] for block in blocks)
    return others / wall if wall else None


def _contention(line: OutcomeRecord) -> Iterator[Warning]:
    used = foreign_cores(line)
    if used is not None and used > thresholds.FOREIGN_CORES:
        yield Warning(
            f"contended: other processes used {used:.1f} cores while laps were timed",
            "stop other work on this machine",
        )


def _blocks(line: OutcomeRecord) -> list[BlockRecord]:
    return [
        block
        for processes in (line.get("blocks") or {}).values()
        for process in processes
        for block in process
    ]


def _steal(line: OutcomeRecord) -> Iterator[Warning]:
    blocks = _blocks(line)
    stolen = sum(block["steal_ticks"] for block in blocks)
    tick_ns = clock_tick.recorded_tick_ns(line.get("environment"))
    if stolen * tick_ns > thresholds.STEAL_CORES * sum(block["wall_ns"] for block in blocks):
        yield Warning(
            f"the hypervisor took {quantities.count(stolen, 'clock tick')} while laps were timed",
            "measure on a dedicated host, or compare only within one run",
        )


def _pressure(line: OutcomeRecord) -> Iterator[Warning]:
    environment = line.get("environment")
    waited = environment.get("cpu_pressure_percent") if environment else None
    explained = [*_threads(line), *_contention(line)]
    if (
        waited is not None
        and waited > thresholds.PRESSURE_PERCENT
        and line["blocks"]
        and not explained
    ):
        yield Warning(
            f"tasks waited for a core in {waited:.0f} % of the last 10 s",
            "use fewer threads, or stop other work on this machine",
        )


def _slowed(line: OutcomeRecord) -> Iterator[Warning]:
    readings = [
        reading
        for process in line.get("gpu", ())
        for blocks in process["blocks"].values()
        for reading in blocks
    ]
    slowed = [reading["slowed"] for reading in readings if reading["slowed"]]
    if slowed:
        reasons = ", ".join(dict.fromkeys(reason for reasons in slowed for reason in reasons))
        yield Warning(
            f"throttled: the GPU lowered its clocks in {len(slowed)} of {len(readings)} blocks of "
            f"laps ({reasons})",
            "improve cooling, or lock the clocks to a speed without throttling (nvidia-smi -lgc)",
        )


def _memory_pressure(line: OutcomeRecord) -> Iterator[Warning]:
    faults = sum(block["major_faults"] for block in _blocks(line))
    if faults:
        yield Warning(
            f"{quantities.count(faults, 'page fault')} went to the disk while laps were timed",
            "free some memory",
        )


def _processes(line: OutcomeRecord) -> Iterator[Warning]:
    if line["outcome"] == "ok" and len(line["process_seconds"]) < 2:
        yield Warning(
            "one process only, so there is no interval",
            f"use --plan default: {PLANS['default'].processes} processes or more, "
            "with a larger --budget if one was set",
        )


def _warm_up(line: OutcomeRecord) -> Iterator[Warning]:
    cold = sum(1 for process in line["warm_up"] if not process["stable"])
    if cold:
        processes = quantities.count(len(line["warm_up"]), "process", "processes")
        yield Warning(
            f"warm-up did not settle in {cold} of {processes}",
            advice.larger(
                line,
                f"up to {advice.THOROUGH.warmup_max_seconds:g} s of warm-up",
                advice.steadier(line),
            ),
        )


def apart(line: OutcomeRecord) -> Iterator[Warning]:
    """A warning for each process far from the other processes of the cell, with the reason."""
    for process in processes_apart.of_line(line):
        remedies = {
            processes_apart.SHARED_CORE: "use fewer threads, or stop other work on this machine",
            processes_apart.STOLEN: "measure on a dedicated host",
            processes_apart.CONTENDED: "stop other work on this machine",
            processes_apart.UNEXPLAINED: advice.more_processes(
                line, "levels and ratios leave the process out"
            ),
        }
        yield Warning(
            f"{process.name} stands apart, compute took {process.distance}: {process.why}",
            remedies[next(iter(process.causes))],
        )


# -- of a run --------------------------------------------------------------------------------------


def _clocks(timed: Sequence[OutcomeRecord]) -> Iterator[Warning]:
    environments = [environment for line in timed if (environment := line.get("environment"))]
    recorded = {environment.get("governor") for environment in environments}
    governors = recorded - {None, "", "performance"}
    if governors:
        yield Warning(
            f"clocks: the governor is {', '.join(sorted(map(str, governors)))}, which changes "
            "clocks while laps are timed",
            "sudo cpupower frequency-set -g performance",
        )


def _drift(timed: Sequence[OutcomeRecord]) -> Iterator[Warning]:
    drift = stationarity.drift(
        [estimates.process_values(line["samples_ns"].get(COMPUTE, ())) for line in timed]
    )
    if drift is not None:
        slower = "slower" if drift.change > 0 else "faster"
        yield Warning(
            f"drift: from the first of {drift.sweeps} sweeps to the last the cells became "
            f"{abs(drift.change):.0%} {slower}",
            "speed-ups are formed within rounds and stay valid, levels do not; "
            + advice.steadier(timed[0]),
        )


def _modes(timed: Sequence[OutcomeRecord]) -> Iterator[Warning]:
    bimodal = [
        (line, modes)
        for line in timed
        if (modes := stationarity.modes(line["samples_ns"].get(COMPUTE, ())))
    ]
    between = [
        line for line, modes in bimodal if modes.between and not processes_apart.of_line(line)
    ]
    within = [line for line, modes in bimodal if not modes.between]
    if within:
        yield Warning(
            f"two modes: compute laps lie at two levels in {_named(within)}",
            f"something switches during the run; {advice.steadier(within[0])}",
        )
    if between:
        yield Warning(
            f"two modes: processes lie at two levels in {_named(between)}",
            advice.more_processes(
                between[0],
                "memory layout differs between processes, and the interval includes that spread",
            ),
        )


def _counted(
    timed: Sequence[OutcomeRecord],
    rule: Callable[[OutcomeRecord], Iterator[Warning]],
    what: str,
) -> Iterator[Warning]:
    """The warning of a rule about single cells, once for the run."""
    warned = [(line, warnings) for line in timed if (warnings := list(rule(line)))]
    if warned:
        names = _named([line for line, _ in warned])
        yield Warning(f"{what}: {names} of {len(timed)}", warned[0][1][0].do)


def _named(lines: Sequence[OutcomeRecord]) -> str:
    names = ", ".join(cell["id"] if (cell := line.get("cell")) else "?" for line in lines[:NAMED])
    plural, more = "s" if len(lines) > 1 else "", ", ..." if len(lines) > NAMED else ""
    return f"{len(lines)} cell{plural} ({names}{more})"
