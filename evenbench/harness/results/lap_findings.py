"""Findings in the recorded laps of a cell: laps that get faster, and threads without work."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise

from evenbench.harness.core import quantities
from evenbench.harness.core.records.outcome import OutcomeRecord
from evenbench.harness.core.types import COMPUTE
from evenbench.harness.statistics import estimates, steady_state

FALL = 0.10
"""A fall of the laps over a process worth a warning, as a share."""

LONG_NS = 5e6
"""Shorter laps may rightly run on one thread: waking another costs microseconds per layer."""

SINGLE_CORE = 1.2
"""Cores in use of a process that shares no work with a second thread."""


def falling(line: OutcomeRecord) -> Iterator[str]:
    """Laps that got faster over a whole process: warm-up had ended too early."""
    falls = [steady_state.fall(medians, FALL) for medians in _block_medians(line)]
    if any(falls):
        count = sum(map(bool, falls))
        yield (
            f"compute: laps became {max(falls):.0%} faster from the first third of a process to "
            f"the last in {count} of {quantities.count(len(falls), 'process', 'processes')}, "
            "so warm-up was not over"
        )


def _block_medians(line: OutcomeRecord) -> Iterator[list[float]]:
    """The median lap of each block of `compute`, by process."""
    laps, blocks = line.get("samples_ns", {}).get(COMPUTE, []), line["blocks"].get(COMPUTE, [])
    if len(laps) != len(blocks):
        return
    for laps_ns, taken in zip(laps, blocks, strict=True):
        ends = [0, *accumulate(block["laps"] for block in taken)]
        slices = (laps_ns[begin:end] for begin, end in pairwise(ends))
        yield [estimates.median(block) for block in slices if block]


def unused_threads(line: OutcomeRecord) -> Iterator[str]:
    """One core in use where several threads were asked for, in laps long enough to share."""
    cell = line.get("cell")
    blocks = [block for taken in line["blocks"].get(COMPUTE, []) for block in taken]
    laps = [lap for taken in line.get("samples_ns", {}).get(COMPUTE, []) for lap in taken]
    if not cell or cell.get("threads", 1) < 2 or cell.get("device") != "cpu" or not blocks:
        return
    used = sum(block["cpu_ns"] for block in blocks) / sum(block["wall_ns"] for block in blocks)
    if laps and estimates.median(laps) > LONG_NS and used < SINGLE_CORE:
        yield f"{cell['threads']} threads were asked for, and laps used {used:.1f} cores"
