"""Processes of a line that stand apart from the other processes, and the reason by recorded
evidence.

The evidence: CPU time, steal and the CPU time of other processes during the timed blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evenbench.harness.core import clock_tick, thresholds
from evenbench.harness.core.types import COMPUTE
from evenbench.harness.results import interleaving
from evenbench.harness.statistics import ratios
from evenbench.harness.statistics.estimates import median

SHARED_CORE, STOLEN, CONTENDED, UNEXPLAINED = "shared core", "steal", "contention", "unexplained"
"""Causes."""


@dataclass(frozen=True)
class Apart:
    """A process far slower than the other processes of its cell.

    `factor` is its typical lap over the median of all processes. `causes` maps each cause to the
    evidence as text.
    """

    process: int
    of: int
    factor: float
    causes: Mapping[str, str]

    @property
    def name(self) -> str:
        """`process 3 of 3`, counted from 1."""
        return f"process {self.process} of {self.of}"

    @property
    def distance(self) -> str:
        """`174 times the median process`."""
        shown = f"{self.factor:,.0f}" if self.factor >= 20 else f"{self.factor:.1f}"
        return f"{shown} times the median process"

    @property
    def why(self) -> str:
        """The evidence of all causes as text."""
        return "; ".join(self.causes.values())


def of_line(line: Mapping[str, Any], boundary: str = COMPUTE) -> list[Apart]:
    """The processes of a line that stand apart within a boundary, in order."""
    processes = _recorded(line, boundary)
    far = _far(interleaving.sweeps_of(line, boundary)) if len(processes) > 1 else {}
    if not far:
        return []
    names = _sweeps(line, len(processes))
    siblings = [
        blocks for name, blocks in zip(names, processes, strict=True) if name not in far
    ] or processes
    tick_ns = clock_tick.recorded_tick_ns(line.get("environment"))
    return [
        Apart(number, len(processes), far[name], _causes(blocks, siblings, tick_ns))
        for number, (name, blocks) in enumerate(zip(names, processes, strict=True), 1)
        if name in far
    ]


def _far(sweeps: ratios.Sweeps) -> Mapping[str, float]:
    """Stalled processes and their factors, without those whose level another process shares.

    A level shared by several processes is a mode of the cell.
    """
    far = ratios.stalled(sweeps)
    if not far:
        return far
    levels = {name: median(list(times.values())) for name, times in sweeps.items() if times}
    centre = median(list(levels.values()))
    slowest = max(level for name, level in levels.items() if name not in far) / centre
    return {name: factor for name, factor in far.items() if slowest**2 < factor}


Blocks = Sequence[Mapping[str, Any]]
"""The blocks of a process."""


def _recorded(line: Mapping[str, Any], boundary: str) -> list[Blocks]:
    """The blocks of each process with samples; none per process in a line without blocks."""
    samples = (line.get("samples_ns") or {}).get(boundary) or []
    blocks = (line.get("blocks") or {}).get(boundary) or []
    return list(blocks) if len(blocks) == len(samples) else [[] for _ in samples]


def _sweeps(line: Mapping[str, Any], processes: int) -> list[str]:
    """The sweep of each process, as in `interleaving.sweeps_of`."""
    turns = line.get("interleaving") or [None] * processes
    return [
        str(turn["sweep"]) if turn else f"{interleaving.ALONE} {number}"
        for number, turn in enumerate(turns)
    ]


def _causes(blocks: Blocks, siblings: Sequence[Blocks], tick_ns: int) -> dict[str, str]:
    wall_ns = _sum(blocks, "wall_ns")
    if not wall_ns:
        return {UNEXPLAINED: "the record has no evidence of the cause"}
    causes = {}
    own, usual = _cores(blocks), median([_cores(sibling) for sibling in siblings])
    if own < thresholds.SHARED_CORE_SHARE * usual:
        causes[SHARED_CORE] = (
            f"its threads shared a core (CPU time over wall time {own:.1f}, else {usual:.1f})"
        )
    stolen_ns = _sum(blocks, "steal_ticks") * tick_ns
    if stolen_ns > thresholds.STEAL_CORES * wall_ns:
        causes[STOLEN] = f"the hypervisor took {stolen_ns / wall_ns:.2f} cores"
    others = (_sum(blocks, "machine_cpu_ns") - _sum(blocks, "cpu_ns")) / wall_ns
    if others > thresholds.FOREIGN_CORES:
        causes[CONTENDED] = f"other processes used {others:.1f} cores"
    return causes or {
        UNEXPLAINED: "the record has no cause: possibly one of two modes, such as memory layout"
    }


def _cores(blocks: Blocks) -> float:
    """CPU time over wall time."""
    return _sum(blocks, "cpu_ns") / (_sum(blocks, "wall_ns") or 1)


def _sum(blocks: Blocks, key: str) -> float:
    return sum(float(block.get(key) or 0) for block in blocks)
