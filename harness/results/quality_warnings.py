"""Warnings about a measurement, as values: what was seen, and what would make the number better.

What was tried already is not advised again: not the plan that was used, and not the governor that
is set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core import clock_tick, thresholds
from harness.core.types import COMPUTE
from harness.statistics import estimates, stationarity

NAMED = 3
"""How many cells a warning about a run names."""


@dataclass(frozen=True)
class Warning:
    """What was seen in `what`, and what to do about it."""

    what: str
    do: str

    def __str__(self) -> str:
        return f"{self.what}; {self.do}"


def about(line: Mapping[str, Any]) -> list[Warning]:
    """Every warning that an outcome line deserves, in a fixed order."""
    seen = [
        *_stability(line),
        *_threads(line),
        *_contention(line),
        *_steal(line),
        *_pressure(line),
        *_slowed(line),
    ]
    return [*seen, *_memory_pressure(line), *_processes(line), *_warm_up(line)]


def about_run(lines: Sequence[Mapping[str, Any]]) -> list[Warning]:
    """Every warning that the outcome lines of one run deserve together, in a fixed order."""
    timed = [
        line
        for line in lines
        if line.get("outcome") == "ok" and line.get("role", "runtime") == "runtime"
    ]
    seen = [*_clocks(timed), *_drift(timed), *_modes(timed)]
    for told, what in (
        (_contention, "contended"),
        (_steal, "robbed by the hypervisor"),
        (_pressure, "measured under CPU pressure"),
    ):
        seen += _counted(timed, told, what)
    return seen


# -- of a cell -------------------------------------------------------------------------------------


def _stability(line: Mapping[str, Any]) -> Iterator[Warning]:
    for boundary, verdicts in line["stability"].items():
        capped, unstable = verdicts.count("capped"), verdicts.count("unstable")
        if capped:
            seen = f"{boundary}: time ran out before the minimum of laps in {capped} of {len(verdicts)} processes"
            yield Warning(seen, _more(line, "laps this long have a level, and no percentiles"))
        if unstable:
            seen = f"{boundary}: laps never settled in {unstable} of {len(verdicts)} processes"
            yield Warning(seen, _steadier(line))


def _plan(line: Mapping[str, Any]) -> str:
    return str((line.get("run") or {}).get("plan", ""))


def _more(line: Mapping[str, Any], otherwise: str) -> str:
    """The advice to measure more, or `otherwise` where the largest plan was used."""
    return otherwise if _plan(line) == "thorough" else "use --plan thorough"


def _steadier(line: Mapping[str, Any]) -> str:
    """What makes clocks steady, as far as the kernel shows that it was not done."""
    found = line.get("environment") or {}
    if str((line.get("cell") or {}).get("device", "")).startswith("cuda"):
        return "lock the GPU's clocks to a speed that it can hold (nvidia-smi -lgc)"
    if found.get("governor") not in (None, "", "performance"):
        return f"the governor is {found['governor']}: sudo cpupower frequency-set -g performance"
    if found.get("turbo_off") == "0":
        return "turbo is on: echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo"
    return "run `evenbench doctor` for a quieter machine"


def _threads(line: Mapping[str, Any]) -> Iterator[Warning]:
    asked, cores = (
        (line.get("cell") or {}).get("threads", 0),
        (line.get("environment") or {}).get("cores", 0),
    )
    if cores and asked > cores:
        yield Warning(
            f"{asked} threads share {cores} usable cores",
            f"ask for {cores} or fewer, unless that is what you measure",
        )


def _contention(line: Mapping[str, Any]) -> Iterator[Warning]:
    blocks = _blocks(line)
    if not blocks:
        return
    wall, own, everyone = (
        sum(block[name] for block in blocks) for name in ("wall_ns", "cpu_ns", "machine_cpu_ns")
    )
    if everyone - own > thresholds.FOREIGN_CORES * wall:
        cores = (everyone - own) / wall
        yield Warning(
            f"contended: other processes used {cores:.1f} cores while laps were timed",
            "stop what else runs on this machine",
        )


def _blocks(line: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        block for processes in line["blocks"].values() for process in processes for block in process
    ]


def _steal(line: Mapping[str, Any]) -> Iterator[Warning]:
    blocks = _blocks(line)
    stolen, wall = (sum(block[name] for block in blocks) for name in ("steal_ticks", "wall_ns"))
    tick_ns = clock_tick.recorded_tick_ns(line.get("environment"))
    if stolen * tick_ns > thresholds.STEAL_CORES * wall:
        seen = f"the hypervisor took {stolen} clock ticks while laps were timed"
        yield Warning(seen, "measure on a host of its own, or compare only within one run")


def _pressure(line: Mapping[str, Any]) -> Iterator[Warning]:
    waited = (line.get("environment") or {}).get("cpu_pressure_percent")
    explained = [*_threads(line), *_contention(line)]
    if (
        waited is not None
        and waited > thresholds.PRESSURE_PERCENT
        and line["blocks"]
        and not explained
    ):
        yield Warning(
            f"tasks waited for a core in {waited:.0f} % of the last 10 s",
            "ask for fewer threads, or stop what else runs",
        )


def _slowed(line: Mapping[str, Any]) -> Iterator[Warning]:
    watched = [
        block
        for process in line.get("gpu", ())
        for blocks in process["blocks"].values()
        for block in blocks
    ]
    slowed = [block["slowed"] for block in watched if block["slowed"]]
    if slowed:
        reasons = ", ".join(dict.fromkeys(reason for found in slowed for reason in found))
        seen = f"throttled: the GPU lowered its clocks in {len(slowed)} of {len(watched)} blocks of laps ({reasons})"
        yield Warning(
            seen, "cool it, or lock its clocks to a speed that it can hold (nvidia-smi -lgc)"
        )


def _memory_pressure(line: Mapping[str, Any]) -> Iterator[Warning]:
    faults = sum(
        block["major_faults"]
        for processes in line["blocks"].values()
        for process in processes
        for block in process
    )
    if faults:
        yield Warning(
            f"{faults} page faults went to the disk while laps were timed", "free some memory"
        )


def _processes(line: Mapping[str, Any]) -> Iterator[Warning]:
    if line["outcome"] == "ok" and len(line["process_seconds"]) < 2:
        yield Warning("one process only, so there is no interval", "use --plan default or thorough")


def _warm_up(line: Mapping[str, Any]) -> Iterator[Warning]:
    cold = sum(1 for process in line["warm_up"] if not process["stable"])
    if cold:
        yield Warning(
            f"warm-up did not settle in {cold} of {len(line['warm_up'])} processes",
            _more(line, _steadier(line)),
        )


# -- of a run --------------------------------------------------------------------------------------


def _clocks(timed: Sequence[Mapping[str, Any]]) -> Iterator[Warning]:
    governors = {(line.get("environment") or {}).get("governor") for line in timed} - {
        None,
        "",
        "performance",
    }
    if governors:
        seen = f"clocks: the governor is {', '.join(sorted(map(str, governors)))}, which changes them while laps are timed"
        yield Warning(seen, "sudo cpupower frequency-set -g performance")


def _drift(timed: Sequence[Mapping[str, Any]]) -> Iterator[Warning]:
    found = stationarity.drift(
        [estimates.process_values(line["samples_ns"].get(COMPUTE, ())) for line in timed]
    )
    if found is not None:
        slower = "slower" if found.change > 0 else "faster"
        seen = f"drift: from the first of {found.sweeps} sweeps to the last the cells became {abs(found.change):.0%} {slower}"
        yield Warning(
            seen, f"speed-ups are paired by sweep and hold, levels do not; {_steadier(timed[0])}"
        )


def _modes(timed: Sequence[Mapping[str, Any]]) -> Iterator[Warning]:
    found = [
        (line, modes)
        for line in timed
        if (modes := stationarity.modes(line["samples_ns"].get(COMPUTE, ())))
    ]
    apart = [line for line, modes in found if modes.between]
    within = [line for line, modes in found if not modes.between]
    if within:
        seen = f"two modes: compute laps lie at two levels in {_named(within)}"
        yield Warning(seen, f"something switches while it runs; {_steadier(within[0])}")
    if apart:
        seen = f"two modes: processes lie at two levels in {_named(apart)}"
        yield Warning(
            seen,
            _more(
                apart[0],
                "memory lies differently in each process, and the interval is as wide as that makes it",
            ),
        )


def _counted(timed: Sequence[Mapping[str, Any]], told: Any, what: str) -> Iterator[Warning]:
    """What `told` warns of in single cells, once for the run."""
    found = [(line, warnings) for line in timed if (warnings := list(told(line)))]
    if found:
        yield Warning(
            f"{what}: {_named([line for line, _ in found])} of {len(timed)}", found[0][1][0].do
        )


def _named(lines: Sequence[Mapping[str, Any]]) -> str:
    names = ", ".join(str((line.get("cell") or {}).get("id", "?")) for line in lines[:NAMED])
    return f"{len(lines)} cell{'s' if len(lines) > 1 else ''} ({names}{', ...' if len(lines) > NAMED else ''})"
