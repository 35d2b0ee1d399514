"""The least time that a cell could possibly take on this machine: its roofline, from peaks that
were measured in the same run.

least time = max(FLOPs / peak FLOPs per second, least bytes / bytes per second): S. Williams, A.
Waterman, D. Patterson, "Roofline: an insightful visual performance model for multicore
architectures", Communications of the ACM 52 (4), 2009, turned from a rate into a time. The work is
what the cell's golden counted, the peaks what a process of its own measured before anything was
timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from harness.core.plans import Plan
from harness.core.types import Cell, TensorSpec
from harness.results import records
from harness.runner.job import Job, Reply

ARITHMETIC, MEMORY = "arithmetic", "memory"

WEIGHT_BYTES: Mapping[str, int] = {
    "fp32": 4,
    "tf32": 4,
    "fp16": 2,
    "bf16": 2,
    "int8-dynamic": 1,
    "int8-static": 1,
}
"""The bytes of one weight at each precision."""

TENSOR_BYTES: Mapping[str, int] = {"fp16": 2, "bf16": 2}
"""The most that one floating number of an input or output needs, where that is less than declared.
"""

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
    """What this machine can do at most, measured once in a run for each device, precision and
    number of threads.
    """

    work: Callable[[Job], Reply]
    plan: Plan
    known: dict[tuple[str, str, int], Mapping[str, Any]] = field(default_factory=dict)

    def unknown(self, cells: Iterable[Cell]) -> Iterator[Cell]:
        """One of `cells` for each device, precision and number of threads whose peaks are not
        known; none where the plan wants none.
        """
        wanted = {_key(cell): cell for cell in cells if _key(cell) not in self.known}
        yield from wanted.values() if self.plan.peak_seconds else ()

    def measure(self, cell: Cell) -> None:
        """Measure the peaks that hold for `cell`, in a process of their own. Why they cannot be had
        is kept as their `reason`.
        """
        alone = Cell(
            cell.model, "null", cell.precision, cell.device, threads=cell.threads
        )  # which needs no variables of its own
        reply = self.work(Job("peaks", alone, self.plan.peak_seconds))
        found = (
            reply.value
            if reply.value is not None
            else {"reason": f"the peaks could not be measured: {reply.reason}"}
        )
        self.known[_key(cell)] = {**NO_PEAKS, "measured": records.timestamp(), **found}

    def of(self, cell: Cell) -> Mapping[str, Any]:
        """The peaks that hold for `cell`, or why there are none."""
        return self.known.get(
            _key(cell),
            {**NO_PEAKS, "reason": f"plan {self.plan.name} measures no peaks; use --plan default"},
        )


def _key(cell: Cell) -> tuple[str, str, int]:
    return cell.device, cell.precision, cell.threads


def of(cell: Cell, work: Mapping[str, Any], peaks: Mapping[str, Any]) -> dict[str, Any]:
    """The limit of a cell as it is recorded (`docs/results.md`). `work` is what the golden counted,
    `peaks` what `Peaks.of` says.

    Without a count or without a peak there is no `least_seconds`, and `reason` says why.
    """
    flops, rate, bandwidth = (
        work["flops"],
        peaks["peak_flops_per_second"],
        peaks["bandwidth_bytes_per_second"],
    )
    needed = least_bytes(cell, work)
    told = {
        "flops": flops,
        "flops_by_operator": work["by_operator"],
        "flops_uncounted": work["uncounted"],
        "least_bytes": needed,
        **{name: peaks[name] for name in NO_PEAKS},
    }
    if flops is None or rate is None or bandwidth is None:
        return {
            **told,
            "least_seconds": None,
            "bound": "",
            "reason": work["why_not"] or peaks["reason"],
        }
    seconds = {ARITHMETIC: flops / rate, MEMORY: needed / bandwidth}
    bound = max(seconds, key=lambda name: seconds[name])
    return {**told, "least_seconds": seconds[bound], "bound": bound, "reason": ""}


def least_bytes(cell: Cell, work: Mapping[str, Any]) -> int:
    """What one step has to move at least: every weight once at the cell's precision, or as it is
    stored if that is less, inputs, outputs.

    Activations are left out: on a machine with enough cache none of them reaches the memory.
    """
    weights = int(work["weights"]) * WEIGHT_BYTES[cell.precision]
    stored = work["weight_bytes"]
    tensors = sum(_tensor_bytes(spec, cell) for spec in (*cell.model.inputs, *cell.model.outputs))
    return min(weights, weights if stored is None else int(stored)) + tensors


def _tensor_bytes(spec: TensorSpec, cell: Cell) -> int:
    floating = "float" in spec.dtype
    bits = int("".join(filter(str.isdigit, spec.dtype)) or 8)  # a bool takes a byte
    declared = max(1, bits // 8)
    each = min(declared, TENSOR_BYTES.get(cell.precision, declared)) if floating else declared
    return prod(spec.concrete(cell.batch)) * each
