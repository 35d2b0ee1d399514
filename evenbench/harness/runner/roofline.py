"""The roofline of a cell: the least possible time, from peaks measured in the same run.

least time = max(FLOPs / peak FLOPs per second, least bytes / bytes per second): S. Williams, A.
Waterman, D. Patterson, "Roofline: an insightful visual performance model for multicore
architectures", Communications of the ACM 52 (4), 2009, turned from a rate into a time. The golden
counts the operations; a separate process measures the peaks before any cell is timed.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from evenbench.harness.core.measurements import IMPOSSIBLE
from evenbench.harness.core.plans import Plan
from evenbench.harness.core.tensor_specs import TensorSpec
from evenbench.harness.core.types import Cell
from evenbench.harness.results import records
from evenbench.harness.runner.job import Job, Reply

ARITHMETIC, MEMORY = "arithmetic", "memory"

WEIGHT_BYTES: Mapping[str, int] = {
    "fp32": 4,
    "tf32": 4,
    "fp16": 2,
    "bf16": 2,
    "int8-dynamic": 1,
    "int8-static": 1,
    "fp64": 8,
    "int8": 1,
}
"""The bytes of one weight at each precision."""

TENSOR_BYTES: Mapping[str, int] = {"fp16": 2, "bf16": 2}
"""The bytes of a floating number of an input or output at precisions narrower than declared."""

LIMIT_FACTOR = 16.0
"""How far a lap may be under the arithmetic limit before it is impossible.

Winograd's convolution needs a fifth of the counted multiplications (F(6x6, 3x3): A. Lavin, S. Gray,
"Fast algorithms for convolutional neural networks", CVPR 2016), a dilated kernel in the padding a
ninth, and peaks may be measured beside other work. Bytes are no part of this limit, because caches
may hold all of them.
"""

CORE_FLOPS = {"fp32": 400e9, "other": 25e12}
"""Operations per second that no core exceeds, for plans without measured peaks.

fp32: two units of 16 lanes, a multiply-add as two, at 6.25 GHz. Narrower types: a tile unit (AMX)
with 4096 operations per cycle.
"""

CORES_WITH_LIMIT = ("x86_64", "AMD64")

NO_PEAKS: Mapping[str, Any] = {
    "library": "",
    "version": "",
    "measured": "",
    "cache_bytes": None,
    "peak_flops_per_second": None,
    "peak_by": "",
    "bandwidth_bytes_per_second": None,
    "bandwidth_by": "",
}


@dataclass
class Peaks:
    """The machine's peaks, measured once in a run per device, precision and number of threads."""

    work: Callable[[Job], Reply]
    plan: Plan
    known: dict[tuple[str, str, int], Mapping[str, Any]] = field(default_factory=dict)

    def unknown(self, cells: Iterable[Cell]) -> Iterator[Cell]:
        """A cell for each device, precision and number of threads with unknown peaks.

        Empty if the plan measures no peaks.
        """
        wanted = {_key(cell): cell for cell in cells if _key(cell) not in self.known}
        yield from wanted.values() if self.plan.peak_seconds else ()

    def measure(self, cell: Cell) -> None:
        """Measure the peaks for `cell` in a separate process; `reason` records a failure."""
        # The null backend sets no variables.
        plain = Cell(cell.model, "null", cell.precision, cell.device, threads=cell.threads)
        reply = self.work(Job("peaks", plain, self.plan.peak_seconds))
        failure = {"reason": f"the peaks could not be measured: {reply.reason}"}
        peaks = failure if reply.value is None else reply.value
        self.known[_key(cell)] = {**NO_PEAKS, "measured": records.timestamp(), **peaks}

    def of(self, cell: Cell) -> Mapping[str, Any]:
        """The peaks for `cell`, or the reason for their absence."""
        reason = f"plan {self.plan.name} measures no peaks; use --plan default"
        return self.known.get(_key(cell), {**NO_PEAKS, "reason": reason})


def _key(cell: Cell) -> tuple[str, str, int]:
    return cell.device, cell.precision, cell.threads


def of(cell: Cell, work: Mapping[str, Any], peaks: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded limit of a cell (docs/reference/results-file.md).

    It is computed from `Golden.work` and `Peaks.of`.

    `bound` is `ARITHMETIC` or `MEMORY`, whatever takes longer. Without a count or a peak,
    `least_seconds` is None, `bound` is empty, and `reason` is the cause.
    """
    flops = work["flops"]
    rate, bandwidth = peaks["peak_flops_per_second"], peaks["bandwidth_bytes_per_second"]
    needed = least_bytes(cell, work)
    facts = {
        "flops": flops,
        "flops_by_operator": work["by_operator"],
        "flops_uncounted": work["uncounted"],
        "least_bytes": needed,
        **{name: peaks[name] for name in NO_PEAKS},
    }
    if flops is None or rate is None or bandwidth is None:
        reason = work["why_not"] or peaks["reason"]
        return {**facts, "least_seconds": None, "bound": "", "reason": reason}
    seconds = {ARITHMETIC: flops / rate, MEMORY: needed / bandwidth}
    bound = max(seconds, key=lambda name: seconds[name])
    return {**facts, "least_seconds": seconds[bound], "bound": bound, "reason": ""}


def impossible(cell: Cell, lap_ns: float, limit: Mapping[str, Any], machine: str = "") -> str:
    """The reason why a lap is too short for the model's operations, or an empty string.

    `limit` is the record of `of`; `machine` the architecture, by default this one's. Without
    measured peaks, a limit of the instruction set applies to x86 cores.
    """
    flops, rate = limit["flops"], limit["peak_flops_per_second"]
    by = "the fastest matrix product"
    if not rate and cell.device == "cpu" and (machine or platform.machine()) in CORES_WITH_LIMIT:
        rate = cell.threads * CORE_FLOPS.get(cell.precision, CORE_FLOPS["other"])
        by = "any core of this kind"
    if not flops or not rate or lap_ns * 1e-9 * LIMIT_FACTOR >= flops / rate:
        return ""
    return (
        f"{IMPOSSIBLE}a lap of {lap_ns / 1e3:.3g} µs for {flops:.3g} operations is more than "
        f"{LIMIT_FACTOR:.0f} times as fast as {by} ({rate:.3g} per second); the inference did not "
        "run in the lap"
    )


def least_bytes(cell: Cell, work: Mapping[str, Any]) -> int:
    """The least bytes that a step moves: every weight once, inputs and outputs.

    A weight counts at the cell's precision, or as stored if smaller. Activations are left out: with
    enough cache no activation reaches the memory.
    """
    weights = int(work["weights"]) * WEIGHT_BYTES[cell.precision]
    stored = work["weight_bytes"]
    tensors = sum(_tensor_bytes(spec, cell) for spec in (*cell.model.inputs, *cell.model.outputs))
    return min(weights, weights if stored is None else int(stored)) + tensors


def _tensor_bytes(spec: TensorSpec, cell: Cell) -> int:
    floating = "float" in spec.dtype
    bits = int("".join(filter(str.isdigit, spec.dtype)) or 8)  # a bool takes a byte
    declared = max(1, bits // 8)
    element = min(declared, TENSOR_BYTES.get(cell.precision, declared)) if floating else declared
    return prod(spec.concrete(cell.batch)) * element
