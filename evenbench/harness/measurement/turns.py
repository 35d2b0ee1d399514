"""Turns of a resident cell: short blocks of both boundaries, while the group's others are stopped.

The other members of a comparison group take their turns in between. Each turn begins with untimed
laps, because another process has used the same caches and cores since the last turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evenbench.harness.core.measurements import Samples
from evenbench.harness.core.plans import Plan
from evenbench.harness.core.session import Now, Session
from evenbench.harness.core.types import BOUNDARIES, COMPUTE
from evenbench.harness.measurement.sampling import MAX_LAPS, Sampler
from evenbench.harness.measurement.spot_checks import SpotChecks
from evenbench.harness.measurement.timing import CLOCK, Counters, counters_of, run_laps
from evenbench.harness.statistics.estimates import median

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

SETTLED = 1.05
"""An untimed lap of at most this multiple of the last block's median ends the untimed laps."""

MOST_UNTIMED_LAPS = 8
"""Limit of untimed laps per turn."""

MOST_UNTIMED_NS = 20_000_000
"""Time limit of untimed laps per turn, checked after each lap."""

LEAST_BLOCK_NS = 5_000_000
"""Counters are read outside the wall time of a block, and would be most of a shorter block."""


@dataclass
class Turns:
    """The turns of a session. `typical_ns` is the lap time at the end of warm-up.

    `observe` gets the boundary after each block, outside every clock.
    """

    session: Session
    batches: Sequence[Arrays]
    plan: Plan
    typical_ns: float
    now: Now = CLOCK
    read_counters: Counters | None = None
    observe: Callable[[str], None] = lambda boundary: None
    samplers: dict[str, Sampler] = field(init=False)
    rounds: list[int] = field(default_factory=list, init=False)
    """The round of each turn."""
    untimed_laps: list[int] = field(default_factory=list, init=False)
    """The number of untimed laps at the beginning of each turn."""

    def __post_init__(self) -> None:
        read = self.read_counters or (lambda: counters_of(self.session))
        most = max(1, MAX_LAPS // self.plan.most_rounds)
        self.samplers = {
            boundary: Sampler(
                *(self.session, self.batches, boundary, self.plan, self.now, read),
                most_laps=most,
                typical_ns=self.typical_ns,
                spots=SpotChecks(),
            )
            for boundary in BOUNDARIES
        }

    def take(self, number: int) -> dict[str, Any]:
        """Take the turn of round `number`: untimed laps, then a block of each boundary.

        The boundaries alternate in order. Returns the `times_ns` of the blocks, the median laps,
        whether the plan's minimum (`enough`) and maximum (`over`) are reached, and whether the last
        blocks agree (`stable`).
        """
        self.untimed_laps.append(self._settle())
        self.rounds.append(number)
        times_ns = {}
        for boundary in reversed(BOUNDARIES) if number % 2 else BOUNDARIES:
            sampler = self.samplers[boundary]
            sampler.take_block()
            self.observe(boundary)
            times_ns[boundary] = median(sampler.laps_ns[-sampler.blocks[-1].laps :])
        samplers = self.samplers.values()
        for sampler in samplers:
            if sampler.spots:
                sampler.spots.compare(sampler.kept)
        return {
            "times_ns": times_ns,
            "enough": all(sampler.enough for sampler in samplers),
            "over": all(sampler.over for sampler in samplers),
            "stable": all(sampler.stable for sampler in samplers),
        }

    def _settle(self) -> int:
        """Take untimed laps until a lap is as fast as the last block; returns their number."""
        settled = SETTLED * self.samplers[COMPUTE].typical
        begin = self.now()
        for lap in range(1, MOST_UNTIMED_LAPS + 1):
            first = sum(self.untimed_laps) + lap
            laps = run_laps(self.session, self.batches, first, 1, COMPUTE, set(), self.now)
            late = not settled or self.now() - begin >= MOST_UNTIMED_NS
            if late or laps.laps_ns[0] <= settled:
                break
        return lap

    def samples(self) -> dict[str, Samples]:
        """The samples by boundary, with the inner boundary of a session with a second clock."""
        return {
            name: samples
            for sampler in self.samplers.values()
            for name, samples in sampler.samples().items()
        }

    @property
    def cores(self) -> float:
        """The cores in use: CPU time over wall time of the blocks of at least `LEAST_BLOCK_NS`."""
        blocks = [
            block
            for sampler in self.samplers.values()
            for block in sampler.blocks
            if block.wall_ns >= LEAST_BLOCK_NS
        ]
        wall_ns = sum(block.wall_ns for block in blocks)
        return sum(block.cpu_ns for block in blocks) / wall_ns if wall_ns else 0.0

    @property
    def kept(self) -> dict[str, dict[int, Arrays]]:
        """The kept outputs, by boundary and batch, and different outputs of later laps."""
        kept: dict[str, dict[int, Arrays]] = {}
        for boundary, sampler in self.samplers.items():
            kept[boundary] = sampler.kept
            later = sampler.spots.outputs(sampler.kept) if sampler.spots else {}
            if later:
                kept[f"{boundary}, later laps"] = later
        return kept
