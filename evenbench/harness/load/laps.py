"""Laps of one caller, thinned evenly beyond the capacity of a results file."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

MAX_LAPS = 5000
"""Recorded laps per caller and point: enough for a p99.9 at 99 % confidence, and few enough for a
results file.
"""


@dataclass
class ThinnedLaps:
    """Laps in order: all laps up to twice `MAX_LAPS`, then an even random share.

    The draw is random because a fixed stride could follow the rotation of the batches.
    """

    seed: int
    laps_ns: list[int] = field(default_factory=list)
    calls: int = 0
    total_ns: int = 0
    share: float = 1.0

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed).random

    def add(self, lap_ns: int) -> None:
        """Count a lap, and record the time if the draw selects this lap."""
        self.calls += 1
        self.total_ns += lap_ns
        if self.share == 1.0 or self.draw() < self.share:
            self.laps_ns.append(lap_ns)
        if len(self.laps_ns) >= 2 * MAX_LAPS:
            self.laps_ns = [lap for lap in self.laps_ns if self.draw() < 0.5]
            self.share /= 2
