"""The ratios of a group that matter, and how precisely each is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evenbench.harness.runner.sweep import Part
from evenbench.harness.statistics import ratios
from evenbench.harness.statistics.ratios import NO_PRIOR, Prior, Ratio

if TYPE_CHECKING:
    from evenbench.harness.runner.group_schedule import PartGroup

FRONT_WEIGHT = 2.0
"""Weight of a ratio between front-runners, and of a ratio to another side of the same cell, against
the weight 1 of a ratio to the baseline.
"""


@dataclass(frozen=True)
class Race:
    """A ratio that matters: two parts of a group, and how precisely the ratio is known."""

    group: PartGroup
    slower: Part
    faster: Part
    ratio: Ratio | None
    weight: float = 1.0

    @property
    def half_width(self) -> float:
        """Half the 95 % interval of the log ratio; infinite if unknown."""
        half = self.ratio.half_width() if self.ratio else None
        return math.inf if half is None else half

    @property
    def is_close(self) -> bool:
        """Whether the order is unclear: the 95 % interval contains 1, or is unknown."""
        return self.ratio is None or abs(self.ratio.log) <= self.half_width

    def half_width_after(self, sweeps: int) -> float:
        """A prediction: a half-width shrinks with the square root of the number of sweeps."""
        return self.half_width * math.sqrt(self.ratio.sweeps / sweeps) if self.ratio else math.inf


def races_of(group: PartGroup, prior: Prior = NO_PRIOR) -> list[Race]:
    """The ratios of a group that matter.

    To the reference, of front-runners to the fastest, and of a cell to its other sides.
    """
    times, reference = group.times, group.reference
    parts = {part.cell.key: part for part in group.right if part.cell.key in times}
    if reference is None or reference.cell.key not in times or len(parts) < 2:
        return []

    def race(slower: Part, faster: Part, weight: float = 1.0) -> Race:
        pair = ratios.ratio(times[slower.cell.key], times[faster.cell.key], prior)
        return Race(group, slower, faster, pair, weight)

    pairs = [race(reference, part) for part in parts.values() if part is not reference]
    ahead = max(pairs, key=lambda pair: pair.ratio.log if pair.ratio else -math.inf)
    leader = ahead.faster if ahead.ratio and ahead.ratio.log > 0 else reference
    front = [
        race(part, leader, FRONT_WEIGHT)
        for part in parts.values()
        if part is not leader and part is not reference and leader is not reference
    ]
    beside = [
        race(part, parts[part.beside], FRONT_WEIGHT)
        for part in parts.values()
        if part.beside in parts and reference not in (part, parts[part.beside])
    ]
    listed = [*pairs, *beside, *(pair for pair in front if pair.is_close)]
    return list({frozenset((id(r.slower), id(r.faster))): r for r in listed}.values())
