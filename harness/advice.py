"""Warnings about a measurement, as values: what was seen, and what would make the number better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FOREIGN_CORES = 0.25
"""A cell counts as contended where other processes used more cores than this while its laps were timed."""


@dataclass(frozen=True)
class Warning:
    """What was seen in `what`, and what to do about it."""

    what: str
    do: str

    def __str__(self) -> str:
        return f"{self.what}; {self.do}"


def about(line: Mapping[str, Any]) -> list[Warning]:
    """Every warning that an outcome line deserves, in a fixed order."""
    seen = [*_stability(line), *_threads(line), *_contention(line), *_slowed(line), *_memory_pressure(line)]
    return [*seen, *_processes(line), *_warm_up(line)]


def _stability(line: Mapping[str, Any]) -> Iterator[Warning]:
    for boundary, verdicts in line["stability"].items():
        capped, unstable = verdicts.count("capped"), verdicts.count("unstable")
        if capped:
            seen = f"{boundary}: time ran out before the minimum of laps in {capped} of {len(verdicts)} processes"
            yield Warning(seen, "use --plan thorough")
        if unstable:
            seen = f"{boundary}: laps never settled in {unstable} of {len(verdicts)} processes"
            yield Warning(seen, "run `evenbench doctor` for a quieter machine")


def _threads(line: Mapping[str, Any]) -> Iterator[Warning]:
    asked, cores = (line.get("cell") or {}).get("threads", 0), (line.get("environment") or {}).get("cores", 0)
    if cores and asked > cores:
        yield Warning(f"{asked} threads share {cores} usable cores", f"ask for {cores} or fewer, unless that is what you measure")


def _contention(line: Mapping[str, Any]) -> Iterator[Warning]:
    blocks = [block for processes in line["blocks"].values() for process in processes for block in process]
    if not blocks:
        return
    wall, own, everyone = (sum(block[name] for block in blocks) for name in ("wall_ns", "cpu_ns", "machine_cpu_ns"))
    if everyone - own > FOREIGN_CORES * wall:
        cores = (everyone - own) / wall
        yield Warning(f"contended: other processes used {cores:.1f} cores while laps were timed", "stop what else runs on this machine")
    stolen = sum(block["steal_ticks"] for block in blocks)
    if stolen:
        seen = f"the hypervisor took {stolen} clock ticks while laps were timed"
        yield Warning(seen, "measure on a host of its own, or compare only within one run")


def _slowed(line: Mapping[str, Any]) -> Iterator[Warning]:
    watched = [block for process in line.get("gpu", ()) for blocks in process["blocks"].values() for block in blocks]
    slowed = [block["slowed"] for block in watched if block["slowed"]]
    if slowed:
        reasons = ", ".join(dict.fromkeys(reason for found in slowed for reason in found))
        seen = f"throttled: the GPU lowered its clocks in {len(slowed)} of {len(watched)} blocks of laps ({reasons})"
        yield Warning(seen, "cool it, or lock its clocks to a speed that it can hold (nvidia-smi -lgc)")


def _memory_pressure(line: Mapping[str, Any]) -> Iterator[Warning]:
    faults = sum(block["major_faults"] for processes in line["blocks"].values() for process in processes for block in process)
    if faults:
        yield Warning(f"{faults} page faults went to the disk while laps were timed", "free some memory")


def _processes(line: Mapping[str, Any]) -> Iterator[Warning]:
    if line["outcome"] == "ok" and len(line["process_seconds"]) < 2:
        yield Warning("one process only, so there is no interval", "use --plan default or thorough")


def _warm_up(line: Mapping[str, Any]) -> Iterator[Warning]:
    cold = sum(1 for process in line["warm_up"] if not process["stable"])
    if cold:
        yield Warning(f"warm-up did not settle in {cold} of {len(line['warm_up'])} processes", "use --plan thorough")
