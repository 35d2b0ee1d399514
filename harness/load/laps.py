"""Laps of one caller, thinned evenly where there are too many for a results file."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

MAX_LAPS = 5000
"""Kept of one caller at one point: enough for a p99.9 at 99 % confidence, and little enough for a
results file.
"""


@dataclass
class Thinned:
    """Laps in order: all of them up to twice `MAX_LAPS`, and then an even share, drawn at random so
    that no rhythm is met.
    """

    seed: int
    laps_ns: list[int] = field(default_factory=list)
    calls: int = 0
    total_ns: int = 0
    share: float = 1.0

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed).random

    def add(self, lap: int) -> None:
        """One more lap, which counts whether or not it is kept."""
        self.calls += 1
        self.total_ns += lap
        if self.share == 1.0 or self.draw() < self.share:
            self.laps_ns.append(lap)
        if len(self.laps_ns) >= 2 * MAX_LAPS:
            self.laps_ns = [each for each in self.laps_ns if self.draw() < 0.5]
            self.share /= 2
