"""Plans: how many processes measure a cell, for how many laps and seconds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from evenbench.harness.core.errors import UsageError

PRECISE_PROCESSES = 12
"""The fewest processes per cell that a plan with a named half-width may take."""

START_SECONDS = 2.0
"""First guess of a measuring process's time besides laps."""


@dataclass(frozen=True)
class Plan:
    """The amount of measuring: processes per cell, and limits within a process.

    `processes` is the fewest processes of a cell. `evenbench run` takes up to `most_processes`,
    until the half-width of every ratio that matters is at most `half_width` (0.03 is 3 %) or
    `budget_seconds` of measuring are over; infinite values switch either rule off.

    A boundary takes at least `min_samples` laps and `min_seconds`, and ends after `max_seconds`,
    `most_rounds` rounds or `sampling.MAX_LAPS` laps, once every batch was used. Warm-up ends after
    `warmup_max_seconds`, or when the medians of the last windows of `window` laps agree within
    `tolerance` (0.10 is 10 %); blocks of laps must agree likewise. A worker without a reply in
    `timeout_seconds` is killed. Each kernel for the machine's peaks is repeated for `peak_seconds`;
    0 skips these kernels.
    """

    name: str
    processes: int
    min_samples: int
    min_seconds: float
    max_seconds: float
    warmup_max_seconds: float
    timeout_seconds: float = 600.0
    window: int = 5
    tolerance: float = 0.10
    peak_seconds: float = 0.0
    half_width: float = math.inf
    most_processes: int = 0
    most_rounds: int = 30
    budget_seconds: float = math.inf

    def __post_init__(self) -> None:
        if (
            self.processes < 1
            or self.min_samples < 1
            or self.max_seconds < self.min_seconds
            or not 0 < self.timeout_seconds < math.inf
            or not self.half_width > 0
            or self.most_rounds < 1
        ):
            raise UsageError(
                f"plan {self.name}: processes, min_samples and most_rounds must be 1 or more, "
                "half_width above 0, max_seconds at least min_seconds and timeout_seconds a number "
                f"above 0, not {self}"
            )

    def to_half_width(self, half_width: float) -> Plan:
        """This plan with another half-width, and enough processes for an interval."""
        most = max(self.most_processes, PRECISE_PROCESSES)
        return replace(self, half_width=half_width, most_processes=most)

    @property
    def typical_seconds(self) -> float:
        """The seconds of measuring a cell, before anything of it is known: a guess.

        Per process, a start, half of the longest warm-up, and both boundaries.
        """
        each = START_SECONDS + self.warmup_max_seconds / 2 + 2 * self.min_seconds
        return self.processes * each

    @property
    def process_limit(self) -> int:
        """The most processes of a cell: `most_processes`, but never below `processes`."""
        return max(self.processes, self.most_processes)


PLANS: Mapping[str, Plan] = {
    "quick": Plan(
        "quick",
        processes=1,
        min_samples=8,
        min_seconds=0.1,
        max_seconds=0.5,
        warmup_max_seconds=1.0,
        most_rounds=20,
    ),
    "default": Plan(
        "default",
        processes=3,
        min_samples=12,
        min_seconds=0.2,
        max_seconds=1.2,
        warmup_max_seconds=1.5,
        peak_seconds=0.2,
        half_width=0.03,
        most_processes=8,
    ),
    "thorough": Plan(
        "thorough",
        processes=10,
        min_samples=50,
        min_seconds=2.0,
        max_seconds=8.0,
        warmup_max_seconds=10.0,
        peak_seconds=0.4,
        half_width=0.01,
        most_processes=30,
        most_rounds=100,
    ),
}
