"""Scenarios of load as values, and what is made of their laps: percentiles, the best batch under a
limit, the highest valid rate.

A percentile is stated where the laps of every process support it, and refused in words where they
do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.dynamic_axes import SIZE
from harness.core.errors import UsageError
from harness.core.types import BATCH, Plan

SINGLE, SWEEP, CONCURRENT, SERVER, GAPS, SHAPES = (
    "single-stream",
    "batch-sweep",
    "concurrent",
    "server",
    "idle-gaps",
    "shapes",
)
NAMES = (SINGLE, SWEEP, CONCURRENT, SERVER, GAPS, SHAPES)

VARIED = ((BATCH,), (SIZE,), (BATCH, SIZE), (SIZE, BATCH))
"""What may change from call to call."""


@dataclass(frozen=True)
class Scenario:
    """What one process is to do with a loaded session. A field that the scenario does not know is
    left as it is.
    """

    name: str
    seconds: float = 3.0
    """Of calls for every point: a batch size, a number of callers, a shape, a run of the load
    generator.
    """
    bound_ns: int = 0
    """The latency that 99 % of the calls must keep; 0 for none."""
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    callers: tuple[int, ...] = (1, 2, 4)
    gaps_ms: tuple[float, ...] = (0.0, 10.0, 100.0, 1000.0)
    vary: tuple[str, ...] = (BATCH,)
    """What changes from call to call where shapes do: the batch, the size of the inputs, or both.
    """
    rounds: int = 15
    rate_per_second: float = 0.0
    """Of arrivals, to be judged alone; 0 searches for the highest valid one."""
    seed: int = 0

    def __post_init__(self) -> None:
        for what, wrong, expected in (
            ("--scenario", "" if self.name in NAMES else self.name, f"one of {', '.join(NAMES)}"),
            (
                "--seconds",
                "" if 0 < self.seconds < math.inf else self.seconds,
                "a number of seconds above 0",
            ),
            (
                "--batches",
                _not_counts(self.batches),
                "different whole numbers of 1 or more, such as 1,2,4,8",
            ),
            (
                "--callers",
                _not_counts(self.callers),
                "different whole numbers of 1 or more, such as 1,2,4",
            ),
            (
                "--gaps",
                "" if _are_gaps(self.gaps_ms) else _listed(self.gaps_ms),
                "0 and other times in ms, such as 0,10,100",
            ),
            (
                "--vary",
                "" if self.vary in VARIED else ",".join(self.vary) or "(nothing)",
                "batch, size, or batch,size",
            ),
            ("--rounds", "" if self.rounds >= 1 else self.rounds, "a whole number of 1 or more"),
            (
                "--rate",
                "" if 0 <= self.rate_per_second < math.inf else self.rate_per_second,
                "a number of arrivals per second above 0",
            ),
        ):
            if wrong != "":
                raise UsageError(f"{what} {wrong}: expected {expected}")
        if self.name == SERVER and not self.bound_ns:
            raise UsageError(
                "--scenario server judges arrivals by a latency bound; give it with --p99, such as --p99 20ms"
            )

    @property
    def has_batches(self) -> bool:
        """Whether the batch sizes are the scenario's, and not each cell's own."""
        return self.name == SWEEP or (self.name == SHAPES and BATCH in self.vary)

    @property
    def has_sizes(self) -> bool:
        """Whether models are fed at all sizes that they declare."""
        return self.name == SHAPES and SIZE in self.vary


@dataclass(frozen=True)
class LoadRequest:
    """Payload of the worker task `load`."""

    plan: Plan
    scenario: Scenario


def _not_counts(values: Sequence[int]) -> str:
    """The values as they were given where they are no list of different counts, or an empty string."""
    right = bool(values) and min(values) >= 1 and len(set(values)) == len(values)
    return "" if right else _listed(values) or "(nothing)"


def _are_gaps(values: Sequence[float]) -> bool:
    return (
        0 in values
        and all(0 <= value < math.inf for value in values)
        and len(set(values)) == len(values) > 1
    )


def _listed(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values) or "(nothing)"
